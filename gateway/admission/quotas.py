"""Quotas of each caller: calls in progress, a rate, a number a day, and tokens.

Every call with a credential counts, before its message is read. Tokens are counted by whoever
generates (`gateway.pipeline.generate`). All quotas that name the caller or one of their roles hold
at once, and each caller has counts of their own. Windows are fixed: one begins with the first call,
ends after its second, minute, hour or day, and so says exactly when to try again; around its end
twice the rate may pass.

Where the place of the counts does not answer, one call a second asks it again, and the others are
refused at once: they must not wait for it with a thread each.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from limits import RateLimitItem, RateLimitItemPerDay, parse
from limits.errors import ConfigurationError, StorageError
from limits.storage import SCHEMES, MemoryStorage, RedisStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from gateway.admission.overload import PAUSE_SECONDS, CircuitBreaker
from gateway.admission.token_counts import (
    MemoryCounts,
    MemoryTokens,
    RedisTokens,
    TokenCounts,
)
from gateway.config.optional_sections import Quota, QuotaStore
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.policy import Principal

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 1.0
COUNTED = frozenset(
    {
        Reason.RATE_EXCEEDED,
        Reason.CONCURRENCY_EXCEEDED,
        Reason.QUOTA_SPENT,
        Reason.TOKENS_SPENT,
        Reason.QUOTA_UNKNOWN,
    }
)
"""Refusals that are counted, not recorded one by one: recording would cost more than answering."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A number of calls, or of tokens, in a time, and what is said beyond it."""

    item: RateLimitItem
    scope: str
    reason: Reason


@dataclass(slots=True)
class _Share:
    """The limits of one caller: the windows of calls and of tokens, and how many calls may be in
    progress.
    """

    windows: tuple[_Window, ...]
    tokens: tuple[_Window, ...]
    concurrent: int | None
    room: threading.Lock = field(default_factory=threading.Lock)
    running: int = 0


class QuotaLimiter:
    """Counts what callers ask. `enter` begins a call and returns what must be called at its end."""

    def __init__(
        self, quotas: Iterable[Quota], store: Storage, tokens: TokenCounts | None = None
    ) -> None:
        """`tokens` are counted beside the store's other counts where no other place is given."""
        self._quotas: tuple[Quota, ...] = tuple(quotas)
        self._limiter = FixedWindowRateLimiter(store)
        self.tokens = tokens or _token_counts(store)
        self._mutex = threading.Lock()
        self._shares: dict[tuple[str, tuple[str, ...]], _Share] = {}
        self._breaker = CircuitBreaker(Reason.QUOTA_UNKNOWN)

    @classmethod
    def of(cls, quotas: Iterable[Quota], store: QuotaStore) -> "QuotaLimiter":
        """Raises: ConfigError for a place that cannot be used."""
        return cls(quotas, open_store(store.url))

    def replace(self, quotas: Iterable[Quota]) -> None:
        """Other quotas from now on; what was counted stays."""
        self._quotas = tuple(quotas)
        self._shares.clear()

    def enter(self, principal: Principal) -> Callable[[], None]:
        """Raises: CONCURRENCY_EXCEEDED, RATE_EXCEEDED, QUOTA_SPENT; QUOTA_UNKNOWN where the place
        of the counts does not answer.
        """
        if not self._quotas:
            return nothing
        share = self._shares.get((principal.name, principal.roles)) or self._share(principal)
        leave = _occupy(share, principal.name)
        try:
            for window in share.windows:
                self._hit(window, principal.name)
        except BaseException:
            leave()
            raise
        return leave

    def each(self, principal: Principal, requests: Iterable[Any]) -> Iterator[Any]:
        """A stream's requests; those after the first are counted here, that one was by `enter`.

        Raises: as `enter`, but for calls in progress.
        """
        for number, request in enumerate(requests):
            if number and self._quotas:
                for window in self._share(principal).windows:
                    self._hit(window, principal.name)
            yield request

    def spend(self, principal: Principal, tokens: int) -> None:
        """Counts tokens that are used already. Raises: TOKENS_SPENT where they are more than were
        left, QUOTA_UNKNOWN.
        """
        for window in self._token_windows(principal):
            self._take(window, principal.name, tokens)

    def reserve(self, principal: Principal, tokens: int) -> Callable[[int], None]:
        """Counts tokens that may be used; returns what is to be told how many of them were.

        Raises: TOKENS_SPENT where so many are not left, QUOTA_UNKNOWN.
        """
        taken: list[tuple[_Window, Any]] = []

        def settle(used: int) -> None:
            for window, place in taken:
                self._give_back(window, principal.name, place, tokens - used)

        try:
            for window in self._token_windows(principal):
                most = window.item.amount
                taken.append((window, self._take(window, principal.name, tokens, most)))
        except SealgateError:
            settle(0)
            raise
        return settle

    def _token_windows(self, principal: Principal) -> tuple[_Window, ...]:
        return self._share(principal).tokens if self._quotas else ()

    def _take(self, window: _Window, name: str, tokens: int, most: int | None = None) -> Any:
        """See `TokenCounts.take`, whose place it returns."""
        key, item = window.item.key_for(window.scope, name), window.item
        with self._asking():
            counted = self.tokens.take(key, item.get_expiry(), tokens, most)
        if counted.place is None or counted.tokens > item.amount:
            # More than there ever are is not there later either.
            retry = counted.left if most is None or tokens <= item.amount else None
            raise SealgateError(window.reason, f"{name}: {item}", retry)
        return counted.place

    def _give_back(self, window: _Window, name: str, place: Any, tokens: int) -> None:
        try:
            self.tokens.give_back(window.item.key_for(window.scope, name), place, tokens)
        except StorageError as error:
            _log.error("%s tokens of %s are not given back: %s", tokens, name, _cause(error))

    def _hit(self, window: _Window, name: str) -> None:
        with self._asking():
            allowed = self._limiter.hit(window.item, window.scope, name)
            if not allowed:
                stats = self._limiter.get_window_stats(window.item, window.scope, name)
        if not allowed:
            left = max(0.0, stats.reset_time - time.time())
            raise SealgateError(window.reason, f"{name}: {window.item}", left)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """While the block asks the place of the counts. Raises: QUOTA_UNKNOWN."""
        was_away = self._breaker.is_open
        try:
            with self._breaker.calling(StorageError):
                yield
        except StorageError as error:
            if not was_away:
                _log.error("the counts of quotas cannot be reached: %s", _cause(error))
            raise SealgateError(Reason.QUOTA_UNKNOWN, _cause(error), PAUSE_SECONDS) from error

    def _share(self, principal: Principal) -> _Share:
        """The share of a caller; there are no more of them than the policy has principals."""
        own = [
            q for q in self._quotas if q.principal == principal.name or q.role in principal.roles
        ]
        concurrent = min((quota.concurrent for quota in own if quota.concurrent), default=None)
        windows = tuple(window for quota in own for window in _windows(quota))
        tokens = tuple(_token_window(quota) for quota in own if quota.tokens)
        with self._mutex:
            key = (principal.name, principal.roles)
            return self._shares.setdefault(key, _Share(windows, tokens, concurrent))


def open_store(url: str) -> Storage:
    """The place that a URL names, which is asked only when something is counted.

    Raises: ConfigError.
    """
    scheme = url.partition("://")[0]
    if scheme == "memory":
        return MemoryCounts()
    try:
        if scheme == "postgresql":
            # Only the extra `postgres` brings what this needs; it registers the scheme.
            import gateway.admission.quota_postgres  # noqa: F401
        options = _redis_options() if scheme in ("redis", "rediss", "redis+unix") else {}
    except ModuleNotFoundError as error:
        extra = "postgres" if scheme == "postgresql" else "redis"
        raise ConfigError(
            f"[quota_store] url needs {error.name}: pip install 'sealgate[{extra}]'"
        ) from None
    if scheme not in SCHEMES:
        # The rest may hold a password.
        raise ConfigError(
            f"[quota_store] url cannot begin with {scheme!r}; use memory://, redis:// or "
            "postgresql://user@host/database"
        )
    try:
        store = storage_from_string(url, wrap_exceptions=True, **options)
    except (ConfigurationError, ValueError) as error:
        raise ConfigError(f"[quota_store] url cannot be used: {error}") from None
    if not isinstance(store, Storage):
        raise ConfigError("[quota_store] url must not be an async one")
    return store


def _token_counts(store: Storage) -> TokenCounts:
    """Those beside a store's other counts. Raises: ConfigError where it has no room for them."""
    if isinstance(store, MemoryCounts | MemoryStorage):
        return MemoryTokens()
    if isinstance(store, RedisStorage):
        return RedisTokens(store)
    if isinstance(store, TokenCounts):
        return store
    raise ConfigError("[quota_store] url: tokens are counted in memory, Redis or PostgreSQL alone")


def _redis_options() -> dict[str, Any]:
    """Bounds on how long Redis is waited for; by itself it would be asked for half a minute."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "socket_timeout": _ANSWER_SECONDS,
        "socket_connect_timeout": _ANSWER_SECONDS,
        "retry": Retry(NoBackoff(), 1),
    }


def _cause(error: StorageError) -> str:
    """The cause of an error, in one line. A statement and its values may follow it."""
    return str(error).strip().partition("\n")[0]


def _windows(quota: Quota) -> Iterable[_Window]:
    scope = _scope(quota)
    if quota.rate:
        yield _Window(parse(quota.rate), f"{scope}:rate", Reason.RATE_EXCEEDED)
    if quota.daily:
        item = RateLimitItemPerDay(quota.daily)
        yield _Window(item, f"{scope}:daily", Reason.QUOTA_SPENT)


def _token_window(quota: Quota) -> _Window:
    return _Window(parse(quota.tokens), f"{_scope(quota)}:tokens", Reason.TOKENS_SPENT)


def _scope(quota: Quota) -> str:
    return f"principal:{quota.principal}" if quota.principal else f"role:{quota.role}"


def _occupy(share: _Share, name: str) -> Callable[[], None]:
    if share.concurrent is None:
        return nothing
    with share.room:
        if share.running >= share.concurrent:
            raise SealgateError(Reason.CONCURRENCY_EXCEEDED, f"{name}: {share.running} in progress")
        share.running += 1
    return partial(_release, share)


def _release(share: _Share) -> None:
    with share.room:
        share.running -= 1


def nothing() -> None:
    """Ends a call that holds nothing."""
