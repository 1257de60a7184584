"""A clock that jumps is believed when it is right again, or has kept to its new time."""

from datetime import UTC, datetime, timedelta

import pytest

from sealgate.steady_clock import PATIENCE, SteadyClock
from sealgate.trust.times import CLOCK_SKEW

START = datetime(2026, 11, 26, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class World:
    """`offset` is how far the wall clock is off."""

    def __init__(self) -> None:
        self.passed = timedelta()
        self.offset = timedelta()
        self.clock = SteadyClock(self.wall, lambda: self.passed.total_seconds())

    def wall(self) -> datetime:
        return START + self.passed + self.offset

    @property
    def is_right(self) -> bool:
        return self.clock() == START + self.passed

    def wait(self, time: timedelta) -> None:
        self.passed += time


@pytest.fixture
def world() -> World:
    return World()


def test_a_clock_that_goes_is_followed(world: World) -> None:
    for _ in range(100):
        world.wait(MINUTE)
        # By a second an hour, say: a clock that is slewed.
        world.offset += timedelta(seconds=1)
        assert world.clock() == world.wall()


@pytest.mark.parametrize("offset", [timedelta(days=3), timedelta(days=-3), 6 * MINUTE, -6 * MINUTE])
def test_a_jump_is_not_believed_and_its_end_is(world: World, offset: timedelta) -> None:
    world.offset = offset
    for _ in range(9):
        assert world.is_right
        world.wait(MINUTE)
    world.offset = timedelta()
    assert world.is_right
    # A wait for one change of the clock does not count for the next.
    world.offset = offset
    world.wait(5 * MINUTE)
    assert world.is_right


@pytest.mark.parametrize("offset", [4 * MINUTE, -4 * MINUTE])
def test_what_clocks_may_differ_by_is_no_jump(world: World, offset: timedelta) -> None:
    world.offset = offset
    assert world.clock() == world.wall()


@pytest.mark.parametrize("offset", [timedelta(hours=5), timedelta(hours=-5)])
def test_who_keeps_to_a_time_is_believed(world: World, offset: timedelta) -> None:
    world.offset = offset
    assert world.is_right
    world.wait(PATIENCE)
    assert world.clock() == world.wall()
    world.wait(MINUTE)
    assert world.clock() == world.wall()


def test_a_clock_that_jumps_about_is_not(world: World) -> None:
    for hours in range(1, 40):
        world.offset = timedelta(hours=hours)
        assert world.is_right
        world.wait(5 * MINUTE)


def test_a_jump_nobody_looked_at_for_long_is_no_older_than_its_first_look(world: World) -> None:
    world.wait(timedelta(days=2))
    world.offset = timedelta(hours=3)
    assert world.is_right


@pytest.mark.parametrize("step", [timedelta(minutes=4), timedelta(minutes=-4)])
def test_a_clock_that_moves_in_small_steps_is_followed_only_within_the_tolerance(
    step: timedelta,
) -> None:
    passed = off = timedelta()
    clock = SteadyClock(lambda: START + passed + off, lambda: passed.total_seconds())
    for _ in range(200):
        passed += timedelta(seconds=2)
        off += step
        assert abs(clock() - (START + passed)) <= CLOCK_SKEW
