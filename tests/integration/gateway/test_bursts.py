"""Bursts of whole calls: each is answered or refused as it would be alone, and recorded once."""

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from gateway.calls.messages import parse_message
from inference.backends.local import RebuildTerms, Watchdog
from inference.runtime.session import Session
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import reason_of
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.builders.models.hard_graphs import endless
from tests.support.fakes.blocking_worker import until
from tests.support.fakes.whole_calls import FakeWholeCall
from tests.support.harness.gateway import GatewayHarness, question, rows


def asked(harness: GatewayHarness, request: oip.ModelInferRequest | bytes) -> FakeWholeCall:
    return FakeWholeCall.by(harness.profile("client"), request)


def changed(change) -> oip.ModelInferRequest:
    request = question("digits", rows())
    change(request)
    return request


def parameter(name: str, kind: str, value: object):
    def set_it(request: oip.ModelInferRequest) -> None:
        setattr(request.parameters[name], kind, value)

    return set_it


def corpus() -> dict[str, oip.ModelInferRequest | bytes]:
    return {
        "valid": question("digits", rows()),
        "several rows": question("digits", rows(count=5)),
        "an id": changed(lambda request: setattr(request, "id", "case-7")),
        "a version": changed(lambda request: setattr(request, "model_version", "1")),
        "another version": changed(lambda request: setattr(request, "model_version", "9")),
        "no version": changed(lambda request: setattr(request, "model_version", "x")),
        "unknown model": changed(lambda request: setattr(request, "model_name", "other")),
        "malformed name": changed(lambda request: setattr(request, "model_name", "a b")),
        "urgent": changed(parameter("priority", "int64_param", 1)),
        "unknown parameter": changed(parameter("wish", "string_param", "x")),
        "alias": changed(parameter("alias", "string_param", "canary")),
        "no time": changed(parameter("timeout", "int64_param", -1)),
        "subject": changed(parameter("subject", "string_param", "patient-17")),
        "bad subject": changed(parameter("subject", "string_param", "a b")),
        "nonce": changed(parameter("nonce", "string_param", "n" * 22)),
        "wrong tensor": changed(lambda request: setattr(request.inputs[0], "name", "y")),
        "wrong shape": changed(lambda request: request.inputs[0].shape.append(2)),
        "out of range": question("digits", rows() + 7),
        "not finite": question("digits", rows() * float("nan")),
        "unknown output": changed(lambda request: request.outputs.add(name="other")),
        "too many rows": question("digits", rows(count=2000)),
        "no message": b"\xff\xff",
        "empty": b"",
    }


def alone(harness: GatewayHarness, request: oip.ModelInferRequest | bytes):
    """The answer through the listener, or the reason of its refusal."""
    message = request if isinstance(request, bytes) else request.SerializeToString()
    call = harness.channel("client").unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=bytes,
        response_deserializer=oip.ModelInferResponse.FromString,
    )
    try:
        return call(message, timeout=60)
    except grpc.RpcError as error:
        return reason_of(error)


def test_each_call_of_a_burst_ends_as_it_would_alone(harness: GatewayHarness) -> None:
    requests = corpus()
    expected = {name: alone(harness, request) for name, request in requests.items()}
    before = harness.gateway.recorder.size
    calls = {name: asked(harness, request) for name, request in requests.items()}
    harness.gateway.bursts(list(calls.values()))
    found = {name: call.reason or call.answered for name, call in calls.items()}
    assert found == expected
    assert sum(isinstance(each, Reason) for each in found.values()) > 10
    assert harness.gateway.recorder.size == before + len(requests)
    assert all(call.is_known for call in calls.values())


def test_compressed_requests_hold_up_no_others(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four kilobytes may unfold to four megabytes, so each is unpacked on a thread of its own."""
    request, may_go = question("digits", rows()), threading.Event()
    packed, plain = (
        asked(harness, gzip.compress(request.SerializeToString())),
        asked(harness, request),
    )
    empty = asked(harness, gzip.compress(b""))

    def held_back(message: bytes, *given):
        if message == packed.message:
            assert may_go.wait(60)
        return parse_message(message, *given)

    monkeypatch.setattr("gateway.transport.bursts.parse_message", held_back)
    harness.gateway.bursts([packed, empty, plain])
    assert plain.reason is None
    assert empty.reason is Reason.NAME_MALFORMED
    assert not packed.ended.is_set()
    may_go.set()
    assert packed.reason is None
    assert packed.answered == plain.answered


def test_a_burst_is_recorded_in_one_group(harness: GatewayHarness) -> None:
    recorder = harness.gateway.recorder
    size, commits = recorder.size, recorder.commits.count
    requests = [question("digits", rows(), receipt=True) for _ in range(64)]
    calls = [asked(harness, request) for request in requests]
    harness.gateway.bursts(calls)
    assert all(call.answered is not None for call in calls)
    assert (recorder.size, recorder.commits.count) == (size + 64, commits + 1)
    policy = harness.governance("client").policy()
    for call in calls:
        receipt = Receipt.decode(call.answered.parameters["receipt"].string_param.encode())
        assert verify_receipt(receipt, policy).fields["outcome"] == "answered"


def test_a_stranger_in_a_burst_is_refused_and_counted(harness: GatewayHarness) -> None:
    size = harness.gateway.recorder.size
    calls = [
        FakeWholeCall(question("digits", rows()), authorization)
        for authorization in (None, "Bearer a.b.c", "Basic eDp5")
    ]
    calls.append(asked(harness, question("digits", rows())))
    harness.gateway.bursts(calls)
    assert [call.reason for call in calls] == [
        Reason.CREDENTIAL_MISSING,
        Reason.TOKEN_MALFORMED,
        Reason.TOKEN_MALFORMED,
        None,
    ]
    assert not any(call.is_known for call in calls[:3])
    assert harness.gateway.recorder.size == size + 1


def test_a_role_too_low_is_recorded(harness: GatewayHarness) -> None:
    size = harness.gateway.recorder.size
    call = FakeWholeCall.by(harness.profile("auditor"), question("digits", rows()))
    harness.gateway.bursts([call])
    assert call.reason is Reason.ROLE_TOO_LOW
    assert harness.gateway.recorder.size == size + 1


def test_calls_that_are_late_or_gone_are_not_run(harness: GatewayHarness) -> None:
    late, gone, waiting = (asked(harness, question("digits", rows())) for _ in range(3))
    late.left, gone.is_there = 0.0, False
    harness.gateway.bursts([late, gone, waiting])
    assert [late.reason, gone.reason, waiting.reason] == [
        Reason.DEADLINE_TOO_SHORT,
        Reason.DEADLINE_TOO_SHORT,
        None,
    ]


def test_a_burst_that_cannot_be_recorded_is_refused(harness: GatewayHarness, monkeypatch) -> None:
    def full(records):
        return [SealgateError(Reason.RECORD_FAILED, "the disk is full") for _ in records]

    monkeypatch.setattr(harness.gateway.recorder, "record_burst", full)
    calls = [asked(harness, question("digits", rows())) for _ in range(3)]
    harness.gateway.bursts(calls)
    assert [call.reason for call in calls] == [Reason.RECORD_FAILED] * 3
    assert all(call.answered is None for call in calls)


def test_a_defect_in_a_burst_answers_everybody(harness: GatewayHarness, monkeypatch) -> None:
    def broken(records):
        raise RuntimeError("a defect")

    monkeypatch.setattr(harness.gateway.recorder, "record_burst", broken)
    calls = [asked(harness, question("digits", rows())) for _ in range(2)]
    harness.gateway.bursts(calls)
    assert [call.reason for call in calls] == [Reason.INTERNAL] * 2


def test_a_burst_whose_run_hangs_is_refused_and_the_next_is_answered(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, size = harness.gateway.engine.resolve("digits").ready, harness.gateway.recorder.size
    # A run may take no time at all, and is never given up.
    watchdog, terms = Watchdog(grace=600), RebuildTerms(0.0, lambda: ready)
    hung = [asked(harness, question("digits", rows())) for _ in range(3)]

    def ended() -> bool:
        watchdog.look(ready, terms, time.monotonic())
        return all(call.ended.is_set() for call in hung)

    with monkeypatch.context() as hanging, ThreadPoolExecutor(1) as pool:
        hanging.setattr(ready, "served", Session.open(endless(64, 10), ("logits",)))
        burst = pool.submit(harness.gateway.bursts, hung)
        until(ended)
        burst.result(60)
    assert [call.reason for call in hung] == [Reason.RUN_HUNG] * 3
    after = asked(harness, question("digits", rows()))
    harness.gateway.bursts([after])
    assert after.reason is None
    assert harness.gateway.recorder.size == size + 4


def test_an_erasure_holds_up_records_about_its_subject_alone(harness: GatewayHarness) -> None:
    recorder = harness.gateway.recorder

    def about(subject: str) -> FakeWholeCall:
        request = question("digits", rows())
        request.parameters["subject"].string_param = subject
        return asked(harness, request)

    first = about("patient-1")
    harness.gateway.bursts([first])
    assert first.answered is not None
    held, other = about("patient-1"), about("patient-2")

    def erased(_: object) -> None:
        """In the middle of the erasure, which keeps records about its subject waiting."""
        harness.gateway.bursts([held, other])
        assert other.reason is None
        assert not held.ended.is_set()

    assert recorder.erase("patient-1", erased) >= 1
    assert held.reason is None


def test_callers_share_a_burst_that_is_too_large(harness: GatewayHarness) -> None:
    """One caller's flood does not keep another's call for the last group."""
    ends: list[str] = []

    class Noted(FakeWholeCall):
        def answer(self, message: bytes) -> None:
            super().answer(message)
            ends.append(self.answered.id)

        def refuse(self, status: grpc.Status) -> None:
            super().refuse(status)
            ends.append("refused")

    def noted(person: str, name: str) -> Noted:
        request = question("digits", rows())
        request.id = name
        return Noted.by(harness.profile(person), request)

    flood = [noted("client", "flood") for _ in range(600)]
    other = noted("monitor", "other")
    harness.gateway.bursts([*flood, other])
    assert len(ends) == 601
    assert ends.index("other") < 300
