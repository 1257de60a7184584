"""Quotas of tokens: what may be used is set aside, and what was not is given back."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from limits.storage import MemoryStorage

from gateway.quota_settings import Quota, QuotaStore
from gateway.quotas import Quotas
from sealgate.reasons import Reason, Refusal
from sealgate.settings import ConfigError

CLIENT: Any = SimpleNamespace(name="client", roles=("client",))
OTHER: Any = SimpleNamespace(name="other", roles=("client",))


def quotas(*entries: Quota) -> Quotas:
    return Quotas.of(entries, QuotaStore())


def refused(counts: Quotas, tokens: int, reason: Reason = Reason.TOKENS_SPENT) -> Refusal:
    with pytest.raises(Refusal) as caught:
        counts.reserve(CLIENT, tokens)
    assert caught.value.reason is reason
    return caught.value


def test_who_has_no_such_quota_may_use_any_number() -> None:
    for counts in (quotas(), quotas(Quota(role="client", rate="1/hour"))):
        counts.reserve(CLIENT, 10**9)(0)
        counts.spend(CLIENT, 10**9)


def test_what_is_set_aside_is_not_there_for_others_of_the_caller() -> None:
    counts = quotas(Quota(role="client", tokens="100/hour"))
    counts.reserve(CLIENT, 60)
    assert 3590 < refused(counts, 41).retry <= 3600
    counts.reserve(CLIENT, 40)
    counts.reserve(OTHER, 100)


def test_what_is_not_used_is_given_back() -> None:
    counts = quotas(Quota(role="client", tokens="100/hour"))
    counts.reserve(CLIENT, 90)(10)
    counts.reserve(CLIENT, 90)(90)
    refused(counts, 1)


def test_what_is_refused_uses_nothing() -> None:
    counts = quotas(Quota(role="client", tokens="100/hour"))
    for _ in range(5):
        refused(counts, 101)
    counts.reserve(CLIENT, 100)


def test_prompts_count_though_there_were_too_few_left() -> None:
    counts = quotas(Quota(role="client", tokens="100/hour"))
    counts.spend(CLIENT, 90)
    with pytest.raises(Refusal) as caught:
        counts.spend(CLIENT, 20)
    assert caught.value.reason is Reason.TOKENS_SPENT
    refused(counts, 1)


def test_all_quotas_hold_and_those_that_allowed_it_get_it_back() -> None:
    counts = quotas(
        Quota(principal="client", tokens="100/day"), Quota(role="client", tokens="50/minute")
    )
    refused(counts, 60)
    counts.reserve(CLIENT, 50)(0)
    counts.reserve(CLIENT, 50)


def test_calls_and_tokens_are_counted_apart() -> None:
    counts = quotas(Quota(role="client", rate="1/hour", tokens="5/hour"))
    counts.reserve(CLIENT, 5)
    counts.enter(CLIENT)()


class Clockwork(MemoryStorage):
    """A store whose windows are over at once, and which may be away."""

    base_exceptions = ConnectionError
    is_away = False

    def get_expiry(self, key: str) -> float:
        return time.time() - 1

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        if self.is_away:
            raise ConnectionError("nobody there")
        return int(super().incr(key, expiry, amount))


def test_what_a_window_had_left_is_not_given_to_the_next() -> None:
    store = Clockwork(wrap_exceptions=True)
    counts = Quotas([Quota(role="client", tokens="100/hour")], store)
    counts.reserve(CLIENT, 60)(0)
    assert [*store.storage.values()] == [60]


def test_where_the_counts_are_away_nobody_generates() -> None:
    store = Clockwork(wrap_exceptions=True)
    counts = Quotas([Quota(role="client", tokens="100/hour")], store)
    store.is_away = True
    refused(counts, 1, Reason.QUOTA_UNKNOWN)
    with pytest.raises(Refusal) as caught:
        counts.spend(CLIENT, 1)
    assert caught.value.reason is Reason.QUOTA_UNKNOWN


@pytest.mark.parametrize("tokens", ["100", "0/hour", "100/second", "-1/hour", "1e3/day", "x"])
def test_settings_that_are_no_quota(tokens: str) -> None:
    with pytest.raises(ConfigError, match="tokens"):
        Quota(role="client", tokens=tokens)
