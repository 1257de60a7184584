"""A running gateway tells of refused credentials, rights and inputs, and of altered bytes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file

from gateway import security_events
from gateway.security_events import SecurityEventSettings
from inference.screening.gradient_attacks import PGD_SHARE, PGD_STEPS, pgd
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import access_of, reason_of
from sealgate.v1 import registry_pb2
from tests.integration.gateway.test_failures import flip_byte
from tests.support.harness.gateway import (
    DATA,
    MODELS,
    GatewayHarness,
    question,
    refusal,
    rows,
    running,
)
from tests.support.oracles.ocsf_schema import errors


class Told:
    """The events of a file, once reporting has ended."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def events(self, code: str) -> list[dict[str, Any]]:
        """Those of one kind; the schema accepts each."""
        security_events.stop()
        found = [json.loads(line) for line in self._path.read_text().splitlines()]
        for event in found:
            assert errors(event) == []
        return [event for event in found if event["metadata"]["event_code"] == code]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    path = tmp_path / "events.jsonl"
    security_events.start(SecurityEventSettings(file=path))
    yield Told(path)
    security_events.stop()


def test_a_refused_credential(harness: GatewayHarness, told: Told) -> None:
    access = access_of(harness.profile("client"))
    forged = replace(access, token=f"{access.token}x")
    with grpc.secure_channel(access.endpoint, forged.credentials()) as channel:
        stub = GRPCInferenceServiceStub(channel)
        reason = refusal(stub.ModelInfer, question("digits", rows()), timeout=60)
    (event,) = told.events("CREDENTIAL_REFUSED")
    assert (event["class_uid"], event["status_code"]) == (3002, reason.name)
    assert event["user"] == {"name": "unknown"}
    assert event["src_endpoint"] == {"ip": "127.0.0.1"}
    assert event["service"] == {"name": "inference.GRPCInferenceService"}
    assert access.token not in json.dumps(event)


def test_a_call_that_a_role_does_not_allow(harness: GatewayHarness, told: Told) -> None:
    asked = registry_pb2.PromoteRequest()
    assert refusal(harness.registry("client").Promote, asked) is Reason.ROLE_TOO_LOW
    (event,) = told.events("RIGHT_REFUSED")
    assert (event["class_uid"], event["activity_name"]) == (6003, "Update")
    assert event["actor"] == {"user": {"name": "client"}}
    assert event["api"]["operation"] == "/sealgate.v1.RegistryService/Promote"


def test_an_adversarial_input_with_its_technique(harness: GatewayHarness, told: Told) -> None:
    graph = str(MODELS / "digits-standard" / "response.onnx")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    data = load_file(DATA / "digits.safetensors")
    clean, labels = data["x_test"][:64].astype(np.float32), data["y_test"][:64]
    stub, refused = harness.inference(), 0
    for row in pgd(session, clean, labels, 0.2, 0.2 / PGD_SHARE, PGD_STEPS, 0.0, 1.0):
        try:
            stub.ModelInfer(question("digits", row[None]), timeout=60)
        except grpc.RpcError as error:
            refused += reason_of(error) is Reason.ADVERSARIAL_INPUT
    events = told.events("ADVERSARIAL_INPUT")
    blocked = [event for event in events if event["disposition"] == "Blocked"]
    assert sum(event["count"] for event in blocked) == refused > 0
    assert blocked[0]["attacks"][0]["technique"]["uid"] == "AML.T0043"
    assert blocked[0]["resources"] == [{"type": "AI Model", "name": "digits", "version": "1"}]
    assert blocked[0]["evidences"][0]["actor"] == {"user": {"name": "client"}}


def test_altered_bytes(tmp_path: Path, told: Told) -> None:
    with running(tmp_path / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        flip_byte(harness, 1, "detector.json")
        harness.stop()
        harness.start()
    (event, *_) = told.events("VERSION_TAMPERED")
    assert (event["severity"], event["status_code"]) == ("Critical", "VERSION_ALTERED")
    assert event["resources"] == [{"type": "AI Model", "name": "digits"}]
