"""Quotas by themselves: each kind of refusal, whom it meets, and when to try again."""

import time
from types import SimpleNamespace

import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from limits.storage import MemoryStorage

from gateway.admission.quotas import QuotaLimiter, open_store
from gateway.config.optional_sections import Quota, QuotaStore
from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.remote.errors import grpc_status
from sealgate.settings import ConfigError

CLIENT = SimpleNamespace(name="client", roles=("client",))
OTHER = SimpleNamespace(name="other", roles=("client", "auditor"))
ADMIN = SimpleNamespace(name="admin", roles=("admin",))


def quotas(*entries):
    return QuotaLimiter.of(entries, QuotaStore())


def refused(counts, principal, reason):
    with pytest.raises(SealgateError) as caught:
        counts.enter(principal)
    assert caught.value.reason is reason
    return caught.value


def test_without_quotas_nobody_is_counted():
    store = Broken(wrap_exceptions=True)
    for quotas in ([], [Quota(role="auditor", rate="1/hour")]):
        counts = QuotaLimiter(quotas, store)
        for _ in range(1000):
            counts.enter(CLIENT)()
    assert store.asked == 0


def test_a_rate_holds_for_each_caller_by_itself():
    counts = quotas(Quota(role="client", rate="2/hour"))
    for _ in range(2):
        counts.enter(CLIENT)()
        counts.enter(OTHER)()
    assert 3590 < refused(counts, CLIENT, Reason.RATE_EXCEEDED).retry <= 3600
    refused(counts, OTHER, Reason.RATE_EXCEEDED)
    counts.enter(ADMIN)()


def test_the_delay_of_a_rate_is_true():
    quota = Quota(principal="client", rate="1/second")
    # No setting gives five seconds: within one, a loaded machine may stand still.
    object.__setattr__(quota, "rate", "1/5 second")
    counts = quotas(quota)
    counts.enter(CLIENT)()
    delay = refused(counts, CLIENT, Reason.RATE_EXCEEDED).retry
    assert 0 < delay <= 5
    time.sleep(delay / 2)
    refused(counts, CLIENT, Reason.RATE_EXCEEDED)
    time.sleep(delay / 2 + 0.01)
    counts.enter(CLIENT)()


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_window_does_not_follow_the_clock(monkeypatch, jump):
    """After the system's time was put right, a second is a second."""
    quota = Quota(principal="client", rate="1/second")
    object.__setattr__(quota, "rate", "1/2 second")
    counts = quotas(quota)
    counts.enter(CLIENT)()
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + jump)
    delay = refused(counts, CLIENT, Reason.RATE_EXCEEDED).retry
    assert 0 < delay <= 2
    time.sleep(delay + 0.01)
    counts.enter(CLIENT)()


def test_each_request_of_a_stream_counts():
    counts = quotas(Quota(principal="client", rate="3/hour", concurrent=1))
    leave = counts.enter(CLIENT)
    asked = counts.each(CLIENT, iter("abcd"))
    assert [next(asked), next(asked), next(asked)] == ["a", "b", "c"]
    with pytest.raises(SealgateError) as caught:
        next(asked)
    assert caught.value.reason is Reason.RATE_EXCEEDED
    leave()


def test_a_daily_quota():
    counts = quotas(Quota(principal="client", daily=1))
    counts.enter(CLIENT)()
    assert 86390 < refused(counts, CLIENT, Reason.QUOTA_SPENT).retry <= 86400
    counts.enter(OTHER)()


def test_calls_in_progress():
    counts = quotas(Quota(role="client", concurrent=2), Quota(principal="client", concurrent=1))
    leave = counts.enter(CLIENT)
    assert refused(counts, CLIENT, Reason.CONCURRENCY_EXCEEDED).retry is None
    held = [counts.enter(OTHER), counts.enter(OTHER)]
    refused(counts, OTHER, Reason.CONCURRENCY_EXCEEDED)
    leave()
    for end in held:
        end()
    counts.enter(CLIENT)()


def test_who_is_refused_by_a_rate_holds_no_place():
    counts = quotas(Quota(principal="client", rate="1/hour", concurrent=1))
    counts.enter(CLIENT)()
    for _ in range(3):
        refused(counts, CLIENT, Reason.RATE_EXCEEDED)


def test_all_quotas_of_a_caller_hold_at_once():
    counts = quotas(Quota(role="client", rate="3/hour"), Quota(role="auditor", daily=1))
    counts.enter(OTHER)()
    refused(counts, OTHER, Reason.QUOTA_SPENT)
    for _ in range(3):
        counts.enter(CLIENT)()


class Broken(MemoryStorage):
    """A place for counts that is away."""

    base_exceptions = ConnectionError

    broken = True
    asked = 0

    def incr(self, key, expiry, amount=1):
        self.asked += 1
        if self.broken:
            raise ConnectionError("nobody there")
        return super().incr(key, expiry, amount)


def test_where_the_counts_are_away_nobody_passes():
    counts = QuotaLimiter([Quota(role="client", rate="9/second")], Broken(wrap_exceptions=True))
    for _ in range(2):
        refused(counts, CLIENT, Reason.QUOTA_UNKNOWN)
    assert Reason.QUOTA_UNKNOWN.kind is Kind.UNAVAILABLE


def test_while_the_counts_are_away_few_calls_wait_for_them(monkeypatch):
    monkeypatch.setattr("gateway.admission.overload.PAUSE_SECONDS", 3.0)
    store = Broken(wrap_exceptions=True)
    counts = QuotaLimiter([Quota(role="client", rate="9/second")], store)
    for _ in range(50):
        assert 0 <= refused(counts, CLIENT, Reason.QUOTA_UNKNOWN).retry <= 3
    assert store.asked == 1
    time.sleep(3.05)
    refused(counts, CLIENT, Reason.QUOTA_UNKNOWN)
    assert store.asked == 2


def test_once_they_are_back_everybody_passes():
    store = Broken(wrap_exceptions=True)
    counts = QuotaLimiter([Quota(role="client", rate="9/hour")], store)
    time.sleep(refused(counts, CLIENT, Reason.QUOTA_UNKNOWN).retry + 0.05)
    store.broken = False
    for _ in range(9):
        counts.enter(CLIENT)()
    refused(counts, CLIENT, Reason.RATE_EXCEEDED)


@pytest.mark.parametrize(
    "url",
    [
        "nowhere://host",
        "async+memory://",
        "no url",
        "postgresql://user:secret@host:port/name",
        "postgresql://user:secret@host/name?schema=a;b",
        "redis://:secret@host:port",
        "mysql://user:secret@host/name",
    ],
)
def test_a_store_that_cannot_be_used(url):
    with pytest.raises(ConfigError, match="quota_store") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, 0.1), (0.0004, 0.001), (0.25, 0.25), (86399.5, 86399.5)]
)
def test_what_is_exhausted_says_when_to_try_again(seconds, expected):
    refusal = SealgateError(Reason.RATE_EXCEEDED, "client", seconds)
    metadata = dict(grpc_status(refusal).trailing_metadata)
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    retry = error_details_pb2.RetryInfo()
    found = [detail for detail in status.details if any_pb2.Any.Is(detail, retry.DESCRIPTOR)]
    assert found[0].Unpack(retry)
    assert retry.retry_delay.ToTimedelta().total_seconds() == expected
