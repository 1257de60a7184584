"""Quotas of tokens: what may be used is set aside, and what was not is given back."""

from types import SimpleNamespace
from typing import Any

import pytest
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage

from gateway.admission import token_counts
from gateway.admission.quotas import QuotaLimiter
from gateway.admission.token_counts import MemoryTokens, TokenReservation
from gateway.config.optional_sections import Quota, QuotaStore
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError

CLIENT: Any = SimpleNamespace(name="client", roles=("client",))
OTHER: Any = SimpleNamespace(name="other", roles=("client",))


def quotas(*entries: Quota) -> QuotaLimiter:
    return QuotaLimiter.of(entries, QuotaStore())


def refused(
    counts: QuotaLimiter, tokens: int, reason: Reason = Reason.TOKENS_SPENT
) -> SealgateError:
    with pytest.raises(SealgateError) as caught:
        counts.reserve(CLIENT, tokens)
    assert caught.value.reason is reason
    return caught.value


def test_who_has_no_such_quota_may_use_any_number() -> None:
    for entries in ([], [Quota(role="client", rate="1/hour")]):
        counts = QuotaLimiter(entries, MemoryStorage(), Away())
        counts.reserve(CLIENT, 10**9)(0)
        counts.spend(CLIENT, 10**9)
    counts = QuotaLimiter([Quota(role="client", tokens="1/hour")], MemoryStorage(), Away())
    refused(counts, 1, Reason.QUOTA_UNKNOWN)


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
        # More than there ever are: to come again would not help.
        assert refused(counts, 101).retry is None
    counts.reserve(CLIENT, 100)


def test_prompts_count_though_there_were_too_few_left() -> None:
    counts = quotas(Quota(role="client", tokens="100/hour"))
    counts.spend(CLIENT, 90)
    with pytest.raises(SealgateError) as caught:
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


def test_what_a_window_had_left_is_not_given_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, now = quotas(Quota(role="client", tokens="100/hour")), [0.0]
    monkeypatch.setattr(token_counts, "time", SimpleNamespace(monotonic=lambda: now[0]))
    settle = counts.reserve(CLIENT, 60)
    now[0] = 3600.0
    counts.reserve(CLIENT, 100)
    settle(0)
    refused(counts, 1)


class Away(MemoryTokens):
    """A place that does not answer."""

    def take(self, *_: Any) -> TokenReservation:
        raise StorageError(ConnectionError("nobody there"))


def test_where_the_counts_are_away_nobody_generates() -> None:
    counts = QuotaLimiter([Quota(role="client", tokens="100/hour")], MemoryStorage(), Away())
    refused(counts, 1, Reason.QUOTA_UNKNOWN)
    with pytest.raises(SealgateError) as caught:
        counts.spend(CLIENT, 1)
    assert caught.value.reason is Reason.QUOTA_UNKNOWN


def test_a_store_without_room_for_tokens_is_told() -> None:
    rest = dict.fromkeys(Storage.__abstractmethods__, lambda *_: None)
    other: Any = type("Other", (Storage,), {"STORAGE_SCHEME": None, **rest})
    with pytest.raises(ConfigError, match="quota_store"):
        QuotaLimiter([], other())


@pytest.mark.parametrize("tokens", ["100", "0/hour", "100/second", "-1/hour", "1e3/day", "x"])
def test_settings_that_are_no_quota(tokens: str) -> None:
    with pytest.raises(ConfigError, match="tokens"):
        Quota(role="client", tokens=tokens)
