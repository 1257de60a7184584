"""How long a batch waits for more rows: where it pays, and never so that a request is late."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.batching.batcher import Batcher
from inference.batching.cost_model import RateEstimate
from inference.batching.job import RequestOptions
from inference.batching.limits import BatcherLimits
from tests.support.fakes.blocking_worker import (
    BlockingWorker,
    add,
    begin,
    learn,
    queued,
    rows,
    until,
)

Pool = ThreadPoolExecutor
DELAY = 1000.0
# The expected time of a run, the time to the next row, and the time left of the urgent request.
RUN, GAP, LEFT = 100.0, 20.0, 110.0


@pytest.mark.parametrize("gap", [None, 0.002])
def test_an_idle_lane_and_an_even_load_wait_for_nobody(gap: float | None) -> None:
    worker = BlockingWorker()
    worker.open.set()
    batcher = Batcher(worker.work, BatcherLimits(8, 100, delay=600.0))
    learn(batcher, 0.001, 0.0001)
    begun = time.monotonic()
    for _ in range(20):
        batcher.submit(rows())
        if gap:
            threading.Event().wait(gap)
    assert time.monotonic() - begun < 100


def test_in_a_burst_a_leader_waits_for_those_who_are_about_to_come() -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(8, 100, delay=200.0))
    # Where a run costs minutes and another row nothing, it pays to wait a little.
    learn(batcher, 600.0, 0.0)
    with Pool(16) as pool:
        futures = [begin(pool, worker, batcher), add(pool, batcher)]
        batcher.pace.gap = 20.0
        worker.open.set()
        until(lambda: batcher.awaited_rows > 0)
        futures += [pool.submit(batcher.submit, rows()) for _ in range(7)]
        begun = time.monotonic()
        for future in futures:
            future.result(60)
        assert time.monotonic() - begun < 60
    assert worker.batches == [[1], [1] * 8]


@pytest.mark.parametrize(
    ("comers", "fixed", "most", "yields"),
    [
        ([], 600.0, 8, 1),
        ([True, False, False, True, True], 600.0, 8, 8),
        ([True, True, True], 600.0, 3, 2),
        ([True, True], 0.0, 8, 1),
    ],
    ids=["nobody comes", "until nobody does", "until the batch is full", "a batch costs nothing"],
)
def test_a_leader_yields_to_those_who_join_it(
    monkeypatch: pytest.MonkeyPatch, comers: list[bool], fixed: float, most: int, yields: int
) -> None:
    worker = BlockingWorker()
    worker.open.set()
    batcher = Batcher(worker.work, BatcherLimits(most, 100))
    batcher.pace.fixed = fixed
    seen: list[bool] = []
    with Pool(8) as pool:
        futures = []

        def come() -> None:
            seen.append(len(seen) < len(comers) and comers[len(seen)])
            if seen[-1]:
                futures.append(add(pool, batcher))

        monkeypatch.setattr("inference.batching.batcher.os.sched_yield", come)
        batcher.submit(rows())
        for future in futures:
            future.result(60)
    assert (len(seen), worker.batches) == (yields, [[1] * (1 + len(futures))])


class Known(RateEstimate):
    """Knows what runs take, and learns nothing more."""

    def __init__(self) -> None:
        super().__init__()
        for size in (1, 2, 4, 8) * 4:
            super().ran(size, RUN)

    def ran(self, rows: int, seconds: float) -> None:
        pass


@pytest.mark.parametrize("hurried", [0, 1], ids=["the leader", "another of its batch"])
def test_waiting_for_more_rows_makes_no_request_late(hurried: int) -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(8, 100, delay=DELAY))
    # A run costs minutes and another row nothing, so it pays to wait for the next.
    batcher.pace = Known()
    waited: list[float] = []
    batcher.arrived.wait_for = lambda done, seconds: waited.append(seconds)  # type: ignore
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(batcher.submit, rows())]
        worker.wait_entered()
        for place in range(2):
            deadline = time.monotonic() + LEFT if place == hurried else None
            futures.append(pool.submit(batcher.submit, rows(), RequestOptions(deadline)))
            queued(batcher, place + 1)
        batcher.pace.gap = GAP
        worker.open.set()
        for future in futures:
            future.result(60)
    until(lambda: worker.batches == [[1], [1, 1]])
    assert len(waited) == 1
    assert 0 < waited[0] <= LEFT - RUN < GAP


class Busy(Known):
    """Expects the next row soon, whatever comes."""

    def came(self, now: float, rows: int) -> None:
        self.gap = GAP


def test_the_leader_of_a_burst_waits_for_nobody() -> None:
    worker = BlockingWorker()
    worker.open.set()
    batcher = Batcher(worker.work, BatcherLimits(8, 100, delay=DELAY))
    # It would pay, if another thread brought the next row.
    batcher.pace = Busy()
    waited: list[float] = []
    batcher.arrived.wait_for = lambda done, seconds: waited.append(seconds)  # type: ignore
    batcher.submit_all([(rows(), RequestOptions(), 0)] * 2)
    assert worker.batches == [[1, 1]]
    assert not waited
