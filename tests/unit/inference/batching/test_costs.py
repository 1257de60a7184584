"""Costs of batches: measured by size, and computed from that for any number of rows."""

import numpy as np
import pytest

from inference.batching.cost_model import BatchCosts, RateEstimate

COSTS = BatchCosts(((1, 2.0), (4, 5.0), (8, 6.0)), lanes=2)


@pytest.mark.parametrize(
    ("rows", "seconds"),
    [(0, 0.0), (1, 2.0), (2, 3.0), (4, 5.0), (6, 5.5), (8, 6.0), (9, 8.0), (20, 17.0)],
)
def test_between_sizes_in_proportion_and_beyond_in_whole_batches(rows: int, seconds: float) -> None:
    assert COSTS.seconds(rows) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("batches", "lanes"),
    [
        ((), 1),
        (((0, 1.0),), 1),
        (((2, 1.0), (1, 1.0)), 1),
        (((1, 0.0),), 1),
        (((1, float("nan")),), 1),
        (((1, float("inf")),), 1),
        (((1, 1.0),), 0),
    ],
)
def test_what_an_engine_may_not_say(batches: tuple[tuple[int, float], ...], lanes: int) -> None:
    with pytest.raises(ValueError, match=r"ascend|some time"):
        BatchCosts(batches, lanes)


class Clock:
    """Stands still, but for what is worked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sizes: list[int] = []

    def __call__(self) -> float:
        return self.now

    def work(self, x: np.ndarray) -> None:
        self.sizes.append(len(x))
        # The first of each size is disturbed, and what is measured is the best.
        self.now += 0.001 * len(x) + (0.02 if self.sizes.count(len(x)) == 1 else 0.0)


def test_each_size_is_measured_up_to_the_largest() -> None:
    clock = Clock()
    costs = BatchCosts.measured(clock.work, np.zeros((3, 5)), 12, 2, clock)
    assert [rows for rows, _ in costs.batches] == [1, 2, 4, 8, 12]
    assert costs.seconds(12) == pytest.approx(0.012)
    assert costs.lanes == 2


def test_what_takes_too_long_to_measure_is_cut_short() -> None:
    clock = Clock()

    def slow(x: np.ndarray) -> None:
        clock.now += 0.5

    costs = BatchCosts.measured(slow, np.zeros((3, 5)), 64, 1, clock)
    assert costs.batches == ((1, 0.5),)
    assert costs.seconds(4) == 2.0


def test_how_many_rows_are_run_in_a_time() -> None:
    pace = RateEstimate(lanes=2)
    assert pace.rows_within(1.0, 8) == float("inf")
    for rows in (2, 4, 8, 8) * 2:
        pace.ran(rows, 0.1 + 0.025 * rows)
    # A full batch takes .3 seconds, and two run at once.
    assert pace.rows_within(1.0, 8) == pytest.approx(2 * 8 / 0.3)


def test_slow_runs_of_single_rows_say_nothing_of_full_batches() -> None:
    """Such as the first of a version, which finds nothing in a cache."""
    pace = RateEstimate()
    for _ in range(20):
        pace.ran(1, 1.0)
    assert pace.rows_within(1.0, 64) == float("inf")
