"""Bursts of calls for a version that is slow: others go on, and what waits takes its room."""

import gzip
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.config.sections import GatewayLimits
from gateway.rollout.rollout import Rollout
from gateway.transport.delayed import DelayedAnswers
from inference.batching.limits import Pace
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from tests.support.fakes.whole_calls import FakeWholeCall
from tests.support.harness.gateway import GatewayHarness, question, rows


def asked(harness: GatewayHarness, request: oip.ModelInferRequest | bytes) -> FakeWholeCall:
    return FakeWholeCall.by(harness.profile("client"), request)


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
    other = asked(harness, question("other", rows()))
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
    monkeypatch.setattr(gateway.bursts, "delayed", DelayedAnswers())
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
