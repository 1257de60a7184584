"""Rules that apply to each call of a burst: quotas, and the hold of its answer."""

import threading
from collections.abc import Iterator

import pytest

from gateway.config.optional_sections import Quota
from gateway.pipeline.pending import PendingRequest
from gateway.transport.delayed import DelayedAnswers
from sealgate.reasons import Reason
from tests.support.fakes.whole_calls import FakeWholeCall
from tests.support.harness.gateway import GatewayHarness, question, rows


def asked(harness: GatewayHarness, name: str = "") -> FakeWholeCall:
    request = question("digits", rows())
    request.id = name
    return FakeWholeCall.by(harness.profile("client"), request)


@pytest.fixture
def two_at_once(harness: GatewayHarness) -> Iterator[None]:
    harness.gateway.quotas.replace([Quota(principal="client", concurrent=2)])
    yield
    harness.gateway.quotas.replace(())


def test_a_quota_counts_each_call_of_a_burst(harness: GatewayHarness, two_at_once: None) -> None:
    for _ in range(2):
        calls = [asked(harness) for _ in range(4)]
        other = FakeWholeCall.by(harness.profile("monitor"), question("digits", rows()))
        harness.gateway.bursts([*calls, other])
        beyond = [Reason.CONCURRENCY_EXCEEDED] * 2
        assert [call.reason for call in (*calls, other)] == [None, None, *beyond, None]


def test_an_answer_that_is_held_back_holds_up_no_other_of_its_burst(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_back = DelayedAnswers()

    def seconds_to_hold(pending: PendingRequest) -> float:
        return 3600.0 if pending.request_id == "held" else 0.0

    monkeypatch.setattr(harness.gateway.bursts, "delayed", held_back)
    monkeypatch.setattr(harness.gateway.inference, "seconds_to_hold", seconds_to_hold)
    held, others = asked(harness, "held"), [asked(harness) for _ in range(3)]
    threads = threading.active_count()
    harness.gateway.bursts([held, *others])
    assert [call.reason for call in others] == [None] * 3
    assert not held.ended.is_set()
    more = [asked(harness, "held") for _ in range(5)]
    harness.gateway.bursts(more)
    # One thread holds them all.
    assert threading.active_count() <= threads + 1
    held_back.stop()
    assert [call.reason for call in (held, *more)] == [None] * 6
