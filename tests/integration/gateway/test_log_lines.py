"""A gateway's log lines on real calls: one object a line, and nothing secret."""

import json
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import access_of
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows

INFER = "/inference.GRPCInferenceService/ModelInfer"
SECRET_NUMBER = 1234.5678
SECRET_TEXT = "the-patient-is-ill"
STRANGE_ID = 'order 7\n{"level": "info"}' + "x" * 500


@dataclass(frozen=True)
class Told:
    """The log's text, its lines, and the token that callers sent."""

    text: str
    lines: list[dict[str, Any]]
    token: str

    def calls(self, **fields: str) -> list[dict[str, Any]]:
        """The lines about single calls that have these fields."""
        calls = [line for line in self.lines if line["logger"] == "sealgate.requests"]
        return [line for line in calls if fields.items() <= line.items()]


def ask(harness: GatewayHarness) -> None:
    """A good question, and bad ones of several kinds."""
    stub = harness.inference()
    asked = question("digits", rows())
    asked.id = "order-7"
    asked.parameters["subject"].string_param = SECRET_TEXT
    stub.ModelInfer(asked, timeout=60)
    asked.id = STRANGE_ID
    assert refusal(stub.ModelInfer, asked, timeout=60) is Reason.PARAMETER_MALFORMED
    far = question("digits", np.full_like(rows(), SECRET_NUMBER))
    assert refusal(stub.ModelInfer, far, timeout=60) is Reason.TENSOR_RANGE
    named = question("digits", rows())
    named.inputs[0].name = SECRET_TEXT
    assert refusal(stub.ModelInfer, named, timeout=60) is Reason.TENSOR_NAME
    profile = harness.profile("client")
    access = access_of(profile)
    forged = replace(access, token=f"{access.token}x")
    with grpc.secure_channel(access.endpoint, forged.credentials()) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert refusal(stub.ModelInfer, question("digits", rows()), timeout=60) in (
            Reason.TOKEN_SIGNATURE,
            Reason.TOKEN_MALFORMED,
        )
    host, _, port = profile.endpoint.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n" + SECRET_TEXT.encode())
        plain.recv(100)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("house")
    harness = GatewayHarness(folder / "state", "digits-standard")
    harness.start()
    try:
        harness.promote("digits", 1)
    finally:
        harness.stop()
    with (harness.state / "gateway.toml").open("a") as settings:
        settings.write('\n[log]\nformat = "json"\nlevel = "debug"\nrequests = true\n')
    log = folder / "log"
    command = [sys.executable, "-m", "sealgate.cli.main", "--state", str(harness.state), "serve"]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("listening")
            ask(harness)
        finally:
            harness.stop()
            process.terminate()
            process.communicate(timeout=60)
    assert process.returncode == 0
    text = log.read_text()
    token = Path(harness.state / "people" / "client" / "token.jwt").read_text().strip()
    return Told(text, [json.loads(line) for line in text.splitlines()], token)


def test_every_line_is_an_object(told: Told) -> None:
    assert len(told.lines) > 5
    for line in told.lines:
        assert {"time", "level", "logger", "message"} <= line.keys()


def test_a_call_is_told_of_with_both_ids(told: Told) -> None:
    (call,) = told.calls(caller_id="order-7")
    assert (call["message"], call["outcome"], call["principal"]) == (INFER, "ok", "client")
    assert (call["model"], call["version"], call["verdict"]) == ("digits", "1", "clean")
    assert call["seconds"] > 0
    ids = [each["request"] for each in told.calls()]
    assert len(set(ids)) == len(ids)


def test_refusals_say_why(told: Told) -> None:
    outcomes = {call["outcome"] for call in told.calls(message=INFER)}
    assert {"PARAMETER_MALFORMED", "TENSOR_RANGE", "TENSOR_NAME"} <= outcomes
    unknown = [call for call in told.calls() if call["outcome"].startswith("TOKEN_")]
    assert len(unknown) == 1
    assert "principal" not in unknown[0]


def test_a_callers_id_is_bounded_and_cleaned(told: Told) -> None:
    (call,) = told.calls(outcome="PARAMETER_MALFORMED")
    assert call["caller_id"].startswith('order?7?{"level":?"info"}xxx')
    assert len(call["caller_id"]) == 128


def test_nothing_that_was_sent_is_told(told: Told) -> None:
    for part in (told.token, *told.token.split("."), SECRET_TEXT, str(SECRET_NUMBER)):
        assert part not in told.text
