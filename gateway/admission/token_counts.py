"""Counts of quotas in memory, and of tokens in memory or in Redis, where gateways count together.

Tokens are set aside before they are used. In Redis a window is a hash that goes when it ends: what
it holds in all, and of each answer in progress what was set aside, under a name of its own. So what
is sent twice, since nothing was heard of the first time, counts once, and what was set aside in a
window that is over is not found in the next one.

Some of the tokens that were set aside are given back. `limits` counts within windows and takes
nothing back: nobody could tell whether the window in which something was set aside is the one that
is open now, and what is given back to another is more than the quota allows. So here whatever was
taken has a place of its own, and each step is one step of the store, by its clock.
"""

import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from limits.errors import StorageError
from limits.storage import RedisStorage, Storage


@dataclass(frozen=True, slots=True)
class TokenReservation:
    """How many tokens the window holds now, and in how many seconds it ends. `place` is where these
    were counted, None where they were too many and were not.
    """

    tokens: int
    left: float
    place: Any


@runtime_checkable
class TokenCounts(Protocol):
    """Raises StorageError of `limits` where the place of the counts does not answer."""

    def take(self, key: str, seconds: int, tokens: int, most: int | None) -> TokenReservation:
        """Count tokens in the window of `key` that is open, or in a new one of so many seconds;
        none of them where there would be more than `most`. Tokens that are taken without a `most`
        are not given back.
        """
        ...

    def give_back(self, key: str, place: Any, tokens: int) -> None:
        """Count so many less of what was taken there, once and for all; nothing where that window
        is over.
        """
        ...


@dataclass(slots=True)
class _Window:
    """`end` is in seconds of `time.monotonic`."""

    end: float
    tokens: int = 0


@dataclass(slots=True)
class MemoryTokens:
    """Those of one process."""

    _windows: dict[str, _Window] = field(default_factory=dict)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: str, seconds: int, tokens: int, most: int | None) -> TokenReservation:
        """See `TokenCounts`."""
        with self._mutex:
            now = time.monotonic()
            window = self._windows.get(key)
            if window is None or now >= window.end:
                window = self._windows[key] = _Window(now + seconds)
            if most is not None and window.tokens + tokens > most:
                return TokenReservation(window.tokens, window.end - now, None)
            window.tokens += tokens
            return TokenReservation(window.tokens, window.end - now, window)

    def give_back(self, key: str, place: Any, tokens: int) -> None:
        """See `TokenCounts`. A window that is over is nobody's any more."""
        with self._mutex:
            place.tokens -= tokens

    def find(self, key: str) -> TokenReservation:
        """The reservation in the window of `key`; empty where no window is open."""
        with self._mutex:
            window = self._windows.get(key)
            left = 0.0 if window is None else window.end - time.monotonic()
            if window is None or left <= 0:
                return TokenReservation(0, 0.0, None)
            return TokenReservation(window.tokens, left, window)

    def clear(self, key: str | None = None) -> int:
        """Forget the window of `key`, or all of them; return how many were forgotten."""
        with self._mutex:
            if key is not None:
                return int(self._windows.pop(key, None) is not None)
            number = len(self._windows)
            self._windows.clear()
            return number


class MemoryCounts(Storage):
    """Counts of one process, as a storage of `limits`.

    That library's own goes by the system's time: after that was set back by an hour, a window of a
    second would go on for an hour, and refuse its caller so long.
    """

    def __init__(self) -> None:
        super().__init__()
        self._windows = MemoryTokens()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count in the window of `key` that is open, or in a new one of `expiry` seconds."""
        return self._windows.take(key, expiry, amount, None).tokens

    def get(self, key: str) -> int:
        return self._windows.find(key).tokens

    def get_expiry(self, key: str) -> float:
        """When the window ends, by the system's time as it is now."""
        return time.time() + self._windows.find(key).left

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        return self._windows.clear()

    def clear(self, key: str) -> None:
        self._windows.clear(key)


# KEYS: the window. ARGV: a name, how many, the most that there may be in all, the seconds of a new
# window.
_TAKE = b"""
local window, name, tokens, most = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('HSETNX', window, 'all', 0) == 1 then
    redis.call('EXPIRE', window, ARGV[4])
end
local all = tonumber(redis.call('HGET', window, 'all'))
local counted = redis.call('HEXISTS', window, name)
if counted == 0 and all + tokens <= most then
    redis.call('HSET', window, name, ARGV[2])
    all = redis.call('HINCRBY', window, 'all', ARGV[2])
    counted = 1
end
return {all, redis.call('PTTL', window), counted}
"""
# ARGV: the name, and how many of them come back.
_GIVE_BACK = b"""
if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 and ARGV[2] ~= '0' then
    redis.call('HINCRBY', KEYS[1], 'all', '-' .. ARGV[2])
end
"""
# Of what is used already.
_ADD = b"""
if redis.call('HSETNX', KEYS[1], 'all', 0) == 1 then
    redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return {redis.call('HINCRBY', KEYS[1], 'all', ARGV[1]), redis.call('PTTL', KEYS[1])}
"""


class RedisTokens:
    """Beside the counts of a storage of `limits`. Safe for many threads."""

    def __init__(self, store: RedisStorage) -> None:
        self._store = store
        register = store.get_connection().register_script
        self.take_script, self._add = register(_TAKE), register(_ADD)
        self._give_back = register(_GIVE_BACK)

    def take(self, key: str, seconds: int, tokens: int, most: int | None) -> TokenReservation:
        """See `TokenCounts`."""
        if most is None:
            tokens, left = self.run(self._add, key, tokens, seconds)
            return TokenReservation(tokens, left / 1000, "")
        name = secrets.token_hex(8)
        tokens, left, counted = self.run(self.take_script, key, name, tokens, most, seconds)
        return TokenReservation(tokens, left / 1000, name if counted else None)

    def give_back(self, key: str, place: Any, tokens: int) -> None:
        """See `TokenCounts`."""
        self.run(self._give_back, key, place, tokens)

    def run(self, script: Any, key: str, *given: Any) -> Any:
        try:
            return script([self._store.prefixed_key(f"TOKENS/{key}")], given)
        except self._store.base_exceptions as error:
            raise StorageError(error) from error
