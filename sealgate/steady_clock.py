"""A clock for long-running processes that does not follow sudden jumps of the system's time.

Signed statements carry times, and readers believe nothing older than what they have seen. If a
freshness statement were signed while the clock is days ahead, later statements would look expired
until those days have passed, and with them every promotion and revocation.

The clock therefore follows the system's time only while it moves steadily, within the five minutes
by which clocks may differ. After a larger jump it continues by the system's count of seconds, until
the system's time is right again or has stayed at its new value for ten minutes (the machine may
have been suspended).
"""

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sealgate.trust.times import CLOCK_SKEW

_log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=10)
# How old what was believed last may be, in seconds, before it is replaced: all steps in that time
# together are a jump, or a clock would get anywhere in steps that are none.
_KEPT = 3600.0


def wall() -> datetime:
    return datetime.now(UTC)


def counted() -> float:
    """Seconds since the machine started; unlike the monotonic clock they go on while it sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A moment at which the wall clock was believed, in both counts."""

    time: datetime
    seconds: float

    def after(self, seconds: float) -> datetime:
        return self.time + timedelta(seconds=seconds - self.seconds)


def now() -> datetime:
    """The time by this process' own steady clock, which begins when it is first asked."""
    return _clock()()


class SteadyClock:
    """Call it for the time, aware UTC. Safe for many threads: what it keeps is replaced at once."""

    def __init__(
        self, wall: Callable[[], datetime] = wall, counted: Callable[[], float] = counted
    ) -> None:
        self._wall = wall
        self._counted = counted
        self._believed = _Anchor(wall(), counted())
        # Where the wall clock jumped to, while that is not believed.
        self._jumped: _Anchor | None = None

    def __call__(self) -> datetime:
        now, seconds = self._wall(), self._counted()
        expected = self._believed.after(seconds)
        if abs(now - expected) <= CLOCK_SKEW:
            if self._jumped is not None:
                _log.warning("the clock is right again")
                self._jumped = None
            if seconds - self._believed.seconds > _KEPT:
                self._believed = _Anchor(now, seconds)
            return now
        return self._jump(now, seconds, expected)

    def _jump(self, now: datetime, seconds: float, expected: datetime) -> datetime:
        jumped = self._jumped
        if jumped is None or abs(now - jumped.after(seconds)) > CLOCK_SKEW:
            self._jumped = _Anchor(now, seconds)
            _log.error("the clock jumped to %s; going on from %s", now, expected)
            return expected
        if seconds - jumped.seconds < PATIENCE.total_seconds():
            return expected
        _log.error("the clock has kept to its new time, which is believed now: %s", now)
        self._believed, self._jumped = _Anchor(now, seconds), None
        return now


@functools.cache
def _clock() -> SteadyClock:
    return SteadyClock()
