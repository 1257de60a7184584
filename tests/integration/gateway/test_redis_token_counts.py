"""Tokens given back to a Redis quota count once, and only in their own window."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.admission.quotas import QuotaLimiter, open_store
from gateway.admission.token_counts import RedisTokens
from gateway.config.optional_sections import Quota, QuotaStore
from sealgate.reasons import Reason, SealgateError
from tests.support.harness.servers.redis_server import RedisServer

CLIENT: Any = SimpleNamespace(name="client", roles=("client",))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def counts(server: RedisServer) -> QuotaLimiter:
    """With 100 tokens a second, of which one is used as it begins."""
    open_store(server.url).reset()
    quota = Quota(role="client", tokens="100/hour")
    # No setting gives a second, for which alone a test can wait.
    object.__setattr__(quota, "tokens", "100/second")
    counts = QuotaLimiter.of([quota], QuotaStore(server.url))
    counts.spend(CLIENT, 1)
    return counts


def test_tokens_given_back_late_do_not_raise_the_next_window(counts: QuotaLimiter) -> None:
    time.sleep(0.4)
    settle = counts.reserve(CLIENT, 60)
    time.sleep(0.7)
    settle(0)
    with pytest.raises(SealgateError) as caught:
        counts.reserve(CLIENT, 101)
    assert caught.value.reason is Reason.TOKENS_SPENT


def test_tokens_given_back_in_time_are_available(counts: QuotaLimiter) -> None:
    time.sleep(0.6)
    counts.reserve(CLIENT, 60)(0)
    counts.reserve(CLIENT, 99)


def test_tokens_given_back_twice_count_once(server: RedisServer) -> None:
    open_store(server.url).reset()
    tokens: Any = RedisTokens(open_store(server.url))
    for _ in range(2):
        assert tokens.run(tokens.take_script, "key", "name", 40, 100, 3600)[::2] == [40, 1]
    for _ in range(2):
        tokens.give_back("key", "name", 30)
    assert tokens.take("key", 3600, 90, 100).tokens == 100
