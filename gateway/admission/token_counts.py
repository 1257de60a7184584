"""Counts of tokens, which are set aside before they are used, and some of them given back.

`limits` counts within windows and takes nothing back: nobody could tell whether the window in which
something was set aside is the one that is open now, and what is given back to another is more than
the quota allows. So here whatever was taken has a place of its own, and each step is one step of
the store, by its clock.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


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
        none of them where there would be more than `most`. What is taken without a `most` is not
        given back.
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
