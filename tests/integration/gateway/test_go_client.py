"""A Go client, generated from our proto by programs of Debian's, asks over TLS with a token."""

import base64
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from gateway.services.health import SERVICES
from sealgate.tensors import read_outputs
from tests.support.harness.gateway import ROOT, question, rows
from tests.support.oracles import programs
from tests.support.oracles.snippets import as_written_for, snippets

pytestmark = pytest.mark.slow

PROTO = "sealgate/oip/grpc_service.proto"
PACKAGE = "sealgate/oip"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Builds a program from its source, against Debian's copies of gRPC and protobuf."""
    go = programs.program("go")
    for plugin in ("protoc-gen-go", "protoc-gen-go-grpc"):
        programs.program(plugin)
    debian = programs.go_package("google.golang.org/grpc")
    folder = tmp_path_factory.mktemp("go")
    (folder / "src").mkdir()
    (folder / "src" / "sealgate").mkdir()
    (folder / "src" / "sealgate" / "receipt").symlink_to(ROOT / "clients" / "go")
    generate = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", PROTO]
    for plugin in ("go", "go-grpc"):
        generate += [f"--{plugin}_out={folder / 'src'}", f"--{plugin}_opt=M{PROTO}={PACKAGE}"]
    generated = programs.run(generate)
    assert generated.returncode == 0, generated.stderr
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOPATH": f"{folder}{os.pathsep}{debian}",
    }

    def built(source):
        program = folder / f"{source.parent.name}-{source.stem}"
        command = [go, "build", "-tags", "example", "-o", program, source]
        done = programs.run(command, environment=environment)
        assert done.returncode == 0, done.stderr
        return program

    return built


@pytest.fixture(scope="module")
def client(build):
    return build(Path(__file__).parent / "go_client" / "main.go")


# Building gRPC from source takes half a minute the first time.
@pytest.mark.timeout(400)
def test_a_client_in_go_generated_from_our_proto(harness, client):
    profile = harness.profile("client")
    sent = rows(count=4)
    done = programs.run(
        [
            client,
            profile.endpoint.replace("127.0.0.1", "localhost"),
            profile.server_authority,
            profile.token.read_text().strip(),
        ],
        json.dumps(sent.tolist()),
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    answer = harness.inference().ModelInfer(question("digits", sent), timeout=60)
    ours = read_outputs(answer)["logits"].raw
    assert (seen["live"], seen["ready"], seen["model_ready"]) == (True, True, True)
    assert (seen["inputs"], seen["id"], seen["version"]) == ("x", "from go", "1")
    assert seen["max_batch"] == harness.gateway.engine.resolve("digits").config.batching.max_rows
    assert base64.b64decode(seen["logits"]) == ours
    assert base64.b64decode(seen["logits_again"]) == ours
    assert seen["encodings"] == ["", "gzip"]
    assert (seen["refused"], seen["load"]) == ("Unauthenticated", "PermissionDenied")


@pytest.mark.timeout(400)
def test_a_program_in_go_resolves_every_descriptor_by_reflection(harness, build):
    program = build(Path(__file__).parent / "go_reflection" / "main.go")
    profile = harness.profile("client")
    endpoint = profile.endpoint.replace("127.0.0.1", "localhost")
    token = profile.token.read_text().strip()
    done = programs.run([program, endpoint, profile.server_authority, token])
    assert done.returncode == 0, done.stderr
    offered = {f"/{service.full_name}/{m.name}" for service in SERVICES for m in service.methods}
    assert set(done.stdout.split()) == offered
    assert "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" in offered


@pytest.mark.timeout(400)
def test_the_program_that_the_documentation_shows(harness, build, tmp_path, monkeypatch):
    (text,) = snippets("go")
    source = tmp_path / "shown.go"
    source.write_text(as_written_for(harness, text))
    program = build(source)
    np.savetxt(harness.state / "rows.csv", rows(), delimiter=",", fmt="%g")
    monkeypatch.chdir(harness.state.parent)
    done = programs.run([program])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["version 1", "refused: TENSOR_SHAPE"]
    verified = harness.command("receipt", "verify", "receipt-go.json", person="client")
    assert verified.exit_code == 0, verified.output


@pytest.mark.timeout(400)
def test_the_example_checks_the_receipt_of_its_own_answer(harness, build, tmp_path, monkeypatch):
    source = tmp_path / "example.go"
    text = (ROOT / "clients" / "go" / "example" / "main.go").read_text()
    source.write_text(as_written_for(harness, text))
    forged = tmp_path / "forged.go"
    forged.write_text(source.read_text().replace('"alias": "production"', '"alias": "canary"'))
    np.savetxt(harness.state / "rows.csv", rows(), delimiter=",", fmt="%g")
    monkeypatch.chdir(harness.state.parent)
    done = programs.run([build(source)])
    assert (done.returncode, done.stdout) == (0, "verified: version 1 of digits\n"), done.stderr
    other = programs.run([build(forged)])
    assert other.returncode == 1
    assert "RECEIPT_MISMATCH: alias" in other.stderr
