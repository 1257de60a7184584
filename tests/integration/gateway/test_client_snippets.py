"""The programs of docs/how-to/clients.md, run as they stand, against a running gateway.

Only the port differs. test_go_client.py builds and runs the program in Go.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format

from sealgate.oip import grpc_service_pb2 as oip
from tests.support.harness.gateway import ROOT, GatewayHarness, labels, rows
from tests.support.oracles import programs
from tests.support.oracles.snippets import as_written_for, snippets

COUNT = 3


@pytest.fixture(scope="module")
def folder(harness: GatewayHarness) -> Path:
    """Where `make run` would have been run."""
    np.savetxt(harness.state / "rows.csv", rows(count=COUNT), delimiter=",", fmt="%g")
    (harness.state.parent / "proto").symlink_to(ROOT / "proto")
    return harness.state.parent


def ran(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_python(harness: GatewayHarness, folder: Path) -> None:
    checking, refused, triton = [as_written_for(harness, text) for text in snippets("python")]
    classes = str(labels(count=COUNT))
    assert ran(folder, sys.executable, "-c", checking) == f"{classes} 1"
    assert ran(folder, sys.executable, "-c", refused) == "TENSOR_SHAPE True"
    assert ran(folder, programs.python_with("tritonclient"), "-c", triton) == classes
    verified = harness.command("receipt", "verify", str(folder / "receipt.json"), person="client")
    assert verified.exit_code == 0, verified.output


def test_grpcurl(harness: GatewayHarness, folder: Path) -> None:
    grpcurl = programs.caller("grpcurl")
    shell = f"PATH={grpcurl.parent}:$PATH\n{for_a_shell(harness)}"
    answer = ran(folder, "sh", "-euc", shell)
    assert '"modelVersion": "1"' in answer
    assert "rawOutputContents" in answer


def test_grpcurl_describes_a_method_by_reflection(harness: GatewayHarness, folder: Path) -> None:
    profile = harness.profile("client")
    words = [programs.caller("grpcurl"), "-cacert", profile.server_authority]
    words += ["-H", f"authorization: Bearer {profile.token.read_text().strip()}"]
    words += [profile.endpoint.replace("127.0.0.1", "localhost"), "describe"]
    described = ran(folder, *map(str, words), "inference.GRPCInferenceService.ModelInfer")
    assert "rpc ModelInfer ( .inference.ModelInferRequest )" in described


def test_what_grpcurl_is_told_is_a_request_of_the_protocol(
    harness: GatewayHarness, folder: Path, tmp_path: Path
) -> None:
    """It stands in for grpcurl where there is none: the shell's quoting, files and message."""
    stand_in = tmp_path / "grpcurl"
    stand_in.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    stand_in.chmod(0o755)
    told = json.loads(ran(folder, "sh", "-euc", f"PATH={tmp_path}:$PATH\n{for_a_shell(harness)}"))
    options = dict(zip(told[:-2:2], told[1:-2:2], strict=True))
    request = json_format.Parse(options["-d"], oip.ModelInferRequest())
    assert harness.inference().ModelInfer(request, timeout=60).model_version == "1"
    token = harness.profile("client").token
    assert token is not None
    assert options["-H"] == f"authorization: Bearer {token.read_text().strip()}"
    assert (folder / options["-import-path"] / options["-proto"]).exists()
    assert (folder / options["-cacert"]).exists()
    service, _, method = told[-1].rpartition("/")
    assert service == oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
    assert method == "ModelInfer"


def for_a_shell(harness: GatewayHarness) -> str:
    (command,) = [text for text in snippets("sh") if text.startswith("grpcurl")]
    return as_written_for(harness, command)
