"""A Go client, generated from our proto by programs of Debian's, asks over TLS with a token."""

import base64
import json
import os
import sys
from pathlib import Path

import pytest

from sealgate.tensors import read_outputs
from tests.support import oracles
from tests.support.house import ROOT, question, rows

PROTO = "sealgate/oip/grpc_service.proto"
PACKAGE = "sealgate/oip"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The program, built from source against Debian's copies of gRPC and protobuf."""
    go = oracles.program("go")
    for plugin in ("protoc-gen-go", "protoc-gen-go-grpc"):
        oracles.program(plugin)
    debian = oracles.go_package("google.golang.org/grpc")
    folder = tmp_path_factory.mktemp("go")
    (folder / "src").mkdir()
    generate = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", PROTO]
    for plugin in ("go", "go-grpc"):
        generate += [f"--{plugin}_out={folder / 'src'}", f"--{plugin}_opt=M{PROTO}={PACKAGE}"]
    generated = oracles.run(generate)
    assert generated.returncode == 0, generated.stderr
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOPATH": f"{folder}{os.pathsep}{debian}",
    }
    source = Path(__file__).parent / "go_client" / "main.go"
    program = folder / "client"
    built = oracles.run([go, "build", "-o", program, source], environment=environment)
    assert built.returncode == 0, built.stderr
    return program


# Building gRPC from source takes half a minute the first time.
@pytest.mark.timeout(240)
def test_a_client_in_go_generated_from_our_proto(house, client):
    profile = house.profile("client")
    sent = rows(count=4)
    done = oracles.run(
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
    answer = house.inference().ModelInfer(question("digits", sent), timeout=10)
    ours = read_outputs(answer)["logits"].raw
    assert (seen["live"], seen["ready"], seen["model_ready"]) == (True, True, True)
    assert (seen["inputs"], seen["id"], seen["version"]) == ("x", "from go", "1")
    assert seen["max_batch"] == house.gateway.engine.resolve("digits").config.batching.max_rows
    assert base64.b64decode(seen["logits"]) == ours
    assert base64.b64decode(seen["logits_again"]) == ours
    assert seen["encodings"] == ["", "gzip"]
    assert (seen["refused"], seen["load"]) == ("Unauthenticated", "PermissionDenied")
