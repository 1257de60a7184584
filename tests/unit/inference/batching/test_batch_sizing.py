"""The limit that memory sets: halved, remembered, and tried again."""

import numpy as np
import pytest

from inference.batching.batch_sizing import RowCapacity
from sealgate.reasons import Reason, SealgateError
from tests.support.fakes.clock import Clock


class Cramped:
    """Work that has memory for `room` rows."""

    def __init__(self, room: int, reason: Reason = Reason.OUT_OF_MEMORY) -> None:
        self.room = room
        self.reason = reason
        self.tried: list[int] = []

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        self.tried.append(len(x))
        if len(x) > self.room:
            raise SealgateError(self.reason)
        return x * 2, x.sum(axis=1)


def run(capacity: RowCapacity, x: np.ndarray, work: Cramped) -> tuple[list[np.ndarray], int]:
    halved: list[int] = []
    found = capacity.run(x, work, lambda: halved.append(capacity.rows()))
    return list(found), len(halved)


def test_rows_that_do_not_fit_are_run_in_halves_and_the_limit_is_remembered() -> None:
    capacity, work = RowCapacity(64, clock=Clock(100.0)), Cramped(10)
    x = np.arange(128, dtype=np.float32).reshape(64, 2)
    (doubled, sums), halved = run(capacity, x, work)
    assert np.array_equal(doubled, 2 * x)
    assert np.array_equal(sums, x.sum(axis=1))
    assert (halved, capacity.rows()) == (3, 8)
    assert work.tried == [64, 32, 16] + [8] * 8
    work.tried.clear()
    run(capacity, x[:20], work)
    assert work.tried == [8, 8, 4]


def test_after_a_while_the_limit_doubles_step_by_step() -> None:
    clock = Clock(100.0)
    capacity = RowCapacity(64, recovery=60, clock=clock)
    assert capacity.halve(32) == 16
    for after, rows in ((59, 16), (1, 32), (59, 32), (1, 64), (1000, 64)):
        clock.now += after
        assert capacity.rows() == rows


def test_one_row_that_does_not_fit_is_refused() -> None:
    capacity = RowCapacity(4, clock=Clock(100.0))
    with pytest.raises(SealgateError) as refused:
        run(capacity, np.ones((4, 2), np.float32), Cramped(0))
    assert refused.value.reason is Reason.OUT_OF_MEMORY
    assert capacity.rows() == 1


def test_other_failures_are_not_tried_again() -> None:
    work = Cramped(0, Reason.INTERNAL)
    with pytest.raises(SealgateError) as refused:
        run(RowCapacity(4, clock=Clock(100.0)), np.ones((4, 2), np.float32), work)
    assert refused.value.reason is Reason.INTERNAL
    assert work.tried == [4]
