"""A clock that was set on by four minutes each second was followed wherever it went, and one that
was set back so kept alive what had expired: each step was less than a jump.
"""

from datetime import UTC, datetime, timedelta

import pytest

from sealgate.steady_clock import SteadyClock
from sealgate.trust.promotion import CLOCK_SKEW

START = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize("step", [timedelta(minutes=4), timedelta(minutes=-4)])
def test_it_gets_no_further_than_a_clock_may_differ(step: timedelta) -> None:
    passed = off = timedelta()
    clock = SteadyClock(lambda: START + passed + off, lambda: passed.total_seconds())
    for _ in range(200):
        passed += timedelta(seconds=2)
        off += step
        assert abs(clock() - (START + passed)) <= CLOCK_SKEW
