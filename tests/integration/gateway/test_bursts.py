"""Bursts of whole calls: each is answered or refused as it would be alone, and recorded once."""

import gzip
import threading
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest

from gateway.calls.messages import parse_message
from gateway.config.sections import GatewayLimits
from gateway.rollout.rollout import Rollout
from gateway.transport.delayed import DelayedAnswers
from inference.batching.limits import Pace
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import reason_of
from sealgate.trust.receipts import Receipt, verify_receipt
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


CORPUS = {
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
    expected = {name: alone(harness, request) for name, request in CORPUS.items()}
    before = harness.gateway.recorder.size
    calls = {name: asked(harness, request) for name, request in CORPUS.items()}
    harness.gateway.bursts(list(calls.values()))
    found = {name: call.reason or call.answered for name, call in calls.items()}
    assert found == expected
    assert sum(isinstance(each, Reason) for each in found.values()) > 10
    assert harness.gateway.recorder.size == before + len(CORPUS)
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


@pytest.fixture
def blocked(harness: GatewayHarness, monkeypatch) -> Iterator[threading.Event]:
    """Runs of digits are slow: each waits for the event."""
    ready = harness.gateway.engine.resolve("digits").ready
    monkeypatch.setattr(ready, "pace", Pace.SLOW)
    submit_all, goes_on = type(ready).submit_all, threading.Event()

    def slow(self, requests):
        assert goes_on.wait(60)
        return submit_all(self, requests)

    monkeypatch.setattr(type(ready), "submit_all", slow)
    yield goes_on
    goes_on.set()


def test_a_slow_version_holds_up_nobody_else(
    harness: GatewayHarness, blocked: threading.Event
) -> None:
    slow = [asked(harness, question("digits", rows())) for _ in range(3)]
    other = asked(harness, CORPUS["unknown model"])
    harness.gateway.bursts([*slow, other])
    assert other.reason is Reason.MODEL_UNKNOWN
    assert not any(call.ended.is_set() for call in slow)
    blocked.set()
    assert [call.reason for call in slow] == [None] * 3


def test_a_slow_version_leaves_threads_to_others(
    harness: GatewayHarness, blocked: threading.Event
) -> None:
    """However many bursts wait for it, and it answers those of the last ones together."""
    slow = [asked(harness, question("digits", rows())) for _ in range(GatewayLimits().threads + 5)]
    for call in slow:
        harness.gateway.bursts([call])
    packed = asked(harness, gzip.compress(b""))
    harness.gateway.bursts([packed])
    assert packed.reason is Reason.NAME_MALFORMED
    assert not any(call.ended.is_set() for call in slow)
    blocked.set()
    assert [call.reason for call in slow] == [None] * len(slow)


def test_a_version_that_is_shown_anew_gets_no_more_threads(
    harness: GatewayHarness, blocked: threading.Event, monkeypatch
) -> None:
    """As each freshness statement does with what is live."""

    def select_version(self, live, *given: object):
        return replace(live, until=live.until + 1)

    monkeypatch.setattr(Rollout, "select_version", select_version)
    slow = [asked(harness, question("digits", rows())) for _ in range(GatewayLimits().threads)]
    for call in slow:
        harness.gateway.bursts([call])
    packed = asked(harness, gzip.compress(b""))
    harness.gateway.bursts([packed])
    assert packed.reason is Reason.NAME_MALFORMED
    blocked.set()
    assert [call.reason for call in slow] == [None] * len(slow)


def test_compressed_calls_for_a_slow_version_leave_threads_to_others(
    harness: GatewayHarness, blocked: threading.Event
) -> None:
    message = gzip.compress(question("digits", rows()).SerializeToString())
    slow = [asked(harness, message) for _ in range(GatewayLimits().threads // 4 + 2)]
    harness.gateway.bursts(slow)
    other = asked(harness, gzip.compress(b""))
    harness.gateway.bursts([other])
    assert other.reason is Reason.NAME_MALFORMED
    assert not any(call.ended.is_set() for call in slow)
    blocked.set()
    assert [call.reason for call in slow] == [None] * len(slow)


def test_what_comes_after_a_slow_answer_is_done_before_the_end(
    harness: GatewayHarness, blocked: threading.Event, monkeypatch
) -> None:
    gateway, may_go, settled = harness.gateway, threading.Event(), []
    settle = gateway.inference.settle

    def held_back(burst) -> None:
        assert may_go.wait(60)
        settle(burst)
        settled.append(len(burst))

    monkeypatch.setattr(gateway.inference, "settle", held_back)
    monkeypatch.setattr(gateway.bursts, "_delayed", DelayedAnswers())
    call = asked(harness, question("digits", rows()))
    gateway.bursts([call])
    blocked.set()
    assert call.reason is None
    ending = threading.Thread(target=gateway.bursts.stop)
    ending.start()
    ending.join(0.2)
    assert ending.is_alive()
    may_go.set()
    ending.join(60)
    assert settled == [1]


def test_calls_that_wait_for_a_thread_take_room_too(
    harness: GatewayHarness, blocked: threading.Event, monkeypatch
) -> None:
    ready = harness.gateway.engine.resolve("digits").ready
    ahead = []

    def refusal_of(self, request, before) -> None:
        ahead.append(len(before))

    begun, slowly = threading.Semaphore(0), type(ready).submit_all

    def submit_all(self, requests):
        begun.release()
        return slowly(self, requests)

    monkeypatch.setattr(type(ready), "refusal_of", refusal_of)
    monkeypatch.setattr(type(ready), "submit_all", submit_all)
    quarter = GatewayLimits().threads // 4
    slow = [asked(harness, question("digits", rows())) for _ in range(quarter + 3)]
    for number, call in enumerate(slow):
        harness.gateway.bursts([call])
        assert number >= quarter or begun.acquire(timeout=60)
    assert ahead == [0] * (quarter + 1) + [1, 2]
    blocked.set()
    assert [call.reason for call in slow] == [None] * len(slow)


def test_a_call_for_which_there_is_no_room_is_refused_before_those_that_wait(
    harness: GatewayHarness, blocked: threading.Event, monkeypatch
) -> None:
    ready = harness.gateway.engine.resolve("digits").ready
    ahead = []

    def refusal_of(self, request, before) -> SealgateError | None:
        ahead.append(len(before))
        full = len(before) + request.rows > 3
        return SealgateError(Reason.QUEUE_FULL, "3 rows wait", 2.0) if full else None

    monkeypatch.setattr(type(ready), "refusal_of", refusal_of)
    refusals = harness.gateway.interceptor.counted_refusals
    before, recorded = refusals["QUEUE_FULL"], harness.gateway.recorder.size
    calls = [asked(harness, question("digits", rows())) for _ in range(4)]
    harness.gateway.bursts(calls)
    *waiting, last = calls
    assert last.reason is Reason.QUEUE_FULL
    assert ahead == [0, 1, 2, 3]
    assert not any(call.ended.is_set() for call in waiting)
    # Of its caller, calls for the same model are refused for a tenth of the time to come again.
    assert [call.alike for call in calls] == [None] * 3 + [(b"\x0a\x06digits", 0.2)]
    blocked.set()
    assert [call.reason for call in waiting] == [None] * 3
    # It is counted, not recorded.
    assert refusals["QUEUE_FULL"] == before + 1
    assert harness.gateway.recorder.size == recorded + 3


def test_calls_that_wait_for_a_slow_version_hold_up_no_refusal(
    harness: GatewayHarness, blocked: threading.Event
) -> None:
    waiting = [asked(harness, question("digits", rows())) for _ in range(GatewayLimits().threads)]
    for call in waiting:
        harness.gateway.bursts([call])
    refused = FakeWholeCall.by(harness.profile("auditor"), question("digits", rows()))
    harness.gateway.bursts([refused])
    assert refused.reason is Reason.ROLE_TOO_LOW
    assert not any(call.ended.is_set() for call in waiting)
    blocked.set()
    assert [call.reason for call in waiting] == [None] * len(waiting)


def test_nobody_is_refused_unread_for_long(
    harness: GatewayHarness, blocked: threading.Event, monkeypatch
) -> None:
    def refusal_of(self, request, before) -> SealgateError | None:
        return SealgateError(Reason.QUEUE_FULL, "", 1000.0)

    ready = harness.gateway.engine.resolve("digits").ready
    monkeypatch.setattr(type(ready), "refusal_of", refusal_of)
    call = asked(harness, question("digits", rows()))
    harness.gateway.bursts([call])
    assert call.reason is Reason.QUEUE_FULL
    assert call.alike == (b"\x0a\x06digits", 1.0)


def test_where_a_canary_has_no_room_its_caller_s_next_calls_are_looked_at(
    harness: GatewayHarness, blocked: threading.Event, monkeypatch
) -> None:
    def refusal_of(self, request, before) -> SealgateError | None:
        return SealgateError(Reason.QUEUE_FULL, "", 2.0)

    def select_version(self, live, *given: object):
        return replace(live, alias="canary")

    ready = harness.gateway.engine.resolve("digits").ready
    monkeypatch.setattr(type(ready), "refusal_of", refusal_of)
    monkeypatch.setattr(Rollout, "select_version", select_version)
    call = asked(harness, question("digits", rows()))
    harness.gateway.bursts([call])
    assert call.reason is Reason.QUEUE_FULL
    assert call.alike is None


def test_a_call_that_fails_in_a_burst_takes_no_other_with_it(
    harness: GatewayHarness, blocked: threading.Event, monkeypatch
) -> None:
    class Failing(FakeWholeCall):
        def refuse_alike(self, *given: object) -> None:
            raise ValueError("by test")

    def refusal_of(self, request, before) -> SealgateError | None:
        return SealgateError(Reason.QUEUE_FULL, "", 2.0) if request.caller == "client" else None

    ready = harness.gateway.engine.resolve("digits").ready
    monkeypatch.setattr(type(ready), "refusal_of", refusal_of)
    request = question("digits", rows())
    before, after = (FakeWholeCall.by(harness.profile("monitor"), request) for _ in range(2))
    failing = Failing.by(harness.profile("client"), request)
    harness.gateway.bursts([before, failing, after])
    blocked.set()
    assert [call.reason for call in (before, failing, after)] == [None, Reason.INTERNAL, None]


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
