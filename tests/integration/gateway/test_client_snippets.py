"""The programs of docs/how-to/clients.md, run as they stand, against a running gateway.

Only the port is another. What is in Go is built and run by test_go_client.py.
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
from tests.support import oracles
from tests.support.house import ROOT, House, labels, rows
from tests.support.snippets import as_written_for, snippets

COUNT = 3


@pytest.fixture(scope="module")
def folder(house: House) -> Path:
    """Where `make run` would have been run."""
    np.savetxt(house.state / "rows.csv", rows(count=COUNT), delimiter=",", fmt="%g")
    (house.state.parent / "proto").symlink_to(ROOT / "proto")
    return house.state.parent


def ran(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_python(house: House, folder: Path) -> None:
    checking, refused, triton = [as_written_for(house, text) for text in snippets("python")]
    classes = str(labels(count=COUNT))
    assert ran(folder, sys.executable, "-c", checking) == f"{classes} 1"
    assert ran(folder, sys.executable, "-c", refused) == "TENSOR_SHAPE True"
    assert ran(folder, oracles.python_with("tritonclient"), "-c", triton) == classes
    verified = house.command("receipt", "verify", str(folder / "receipt.json"), person="client")
    assert verified.exit_code == 0, verified.output


def test_grpcurl(house: House, folder: Path) -> None:
    oracles.program("grpcurl")
    answer = ran(folder, "sh", "-euc", for_a_shell(house))
    assert '"modelVersion": "1"' in answer
    assert "rawOutputContents" in answer


def test_what_grpcurl_is_told_is_a_request_of_the_protocol(
    house: House, folder: Path, tmp_path: Path
) -> None:
    """It stands in for grpcurl where there is none: the shell's quoting, files and message."""
    stand_in = tmp_path / "grpcurl"
    stand_in.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    stand_in.chmod(0o755)
    told = json.loads(ran(folder, "sh", "-euc", f"PATH={tmp_path}:$PATH\n{for_a_shell(house)}"))
    options = dict(zip(told[:-2:2], told[1:-2:2], strict=True))
    request = json_format.Parse(options["-d"], oip.ModelInferRequest())
    assert house.inference().ModelInfer(request, timeout=60).model_version == "1"
    token = house.profile("client").token
    assert token is not None
    assert options["-H"] == f"authorization: Bearer {token.read_text().strip()}"
    assert (folder / options["-import-path"] / options["-proto"]).exists()
    assert (folder / options["-cacert"]).exists()
    service, _, method = told[-1].rpartition("/")
    assert service == oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
    assert method == "ModelInfer"


def for_a_shell(house: House) -> str:
    (command,) = [text for text in snippets("sh") if text.startswith("grpcurl")]
    return as_written_for(house, command)
