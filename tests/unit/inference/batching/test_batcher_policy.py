"""The batcher's choices: sizes, shares, waiting, and what is not worth beginning."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.batching.batch_sizing import RowCapacity
from inference.batching.batcher import Batcher
from inference.batching.cost_model import RateEstimate
from inference.batching.job import RequestOptions
from inference.batching.limits import BatcherLimits
from sealgate.reasons import Reason, SealgateError
from tests.support.fakes.blocking_worker import (
    BlockingWorker,
    Rows,
    add,
    begin,
    learn,
    queued,
    reason,
    rows,
)

Pool = ThreadPoolExecutor


def test_a_batch_stops_at_the_largest_preferred_size_that_it_could_have() -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(16, 100, preferred=(4, 8)))
    with Pool(16) as pool:
        futures = [begin(pool, worker, batcher)]
        futures += [add(pool, batcher) for _ in range(14)]
        worker.open.set()
        for future in futures:
            future.result(60)
    assert [len(batch) for batch in worker.batches] == [1, 8, 4, 2]


def test_who_floods_does_not_starve_another() -> None:
    ran: list[list[float]] = []
    worker = BlockingWorker()

    def work(requests: list[Rows]) -> list[Rows]:
        ran.append([float(part[0, 0]) for part in requests])
        return worker.work(requests)

    batcher = Batcher(work, BatcherLimits(2, 100))
    with Pool(32) as pool:
        futures = [begin(pool, worker, batcher)]
        futures += [add(pool, batcher, caller="greedy") for _ in range(20)]
        futures.append(pool.submit(batcher.submit, rows(1, 7.0), RequestOptions(caller="modest")))
        queued(batcher, 21)
        worker.open.set()
        for future in futures:
            future.result(60)
    assert ran[:2] == [[1.0], [1.0, 7.0]]


def test_a_full_queue_turns_away_the_greedy_for_who_has_less() -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(4, 4))
    with Pool(8) as pool:
        futures = [begin(pool, worker, batcher)]
        greedy = [add(pool, batcher, caller="greedy") for _ in range(4)]
        with pytest.raises(SealgateError) as refused:
            batcher.submit(rows(), RequestOptions(caller="greedy"))
        assert refused.value.reason is Reason.QUEUE_FULL
        modest = pool.submit(batcher.submit, rows(), RequestOptions(caller="modest"))
        assert reason(greedy[3]) is Reason.QUEUE_FULL
        worker.open.set()
        for future in (*futures, *greedy[:3], modest):
            assert len(future.result(60)) == 1
    assert batcher.counts().dropped == 1
    assert batcher.queue.rows == 0


def test_a_full_queue_says_when_it_may_have_room() -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(4, 4))
    learn(batcher, 0.5, 0.25)
    with Pool(4) as pool:
        futures = [begin(pool, worker, batcher), add(pool, batcher, 4)]
        with pytest.raises(SealgateError) as refused:
            batcher.submit(rows(1))
        assert refused.value.retry == pytest.approx(1.5)
        worker.open.set()
        for future in futures:
            future.result(60)


def test_what_surely_takes_longer_than_is_left_is_not_begun() -> None:
    worker = BlockingWorker()
    worker.open.set()
    batcher = Batcher(worker.work, BatcherLimits(4, 8))
    learn(batcher, 200.0, 0.0)
    with pytest.raises(SealgateError) as refused:
        batcher.submit(rows(), RequestOptions(time.monotonic() + 50))
    assert refused.value.reason is Reason.DEADLINE_TOO_SHORT
    assert worker.batches == []
    assert len(batcher.submit(rows(), RequestOptions(time.monotonic() + 10_000))) == 1
    # The estimate gives way: it was wrong, and something runs at last.
    for _ in range(100):
        try:
            batcher.submit(rows(), RequestOptions(time.monotonic() + 50))
            break
        except SealgateError:
            continue
    else:
        pytest.fail("an estimate refused everything for ever")


def test_an_estimate_is_not_lowered_by_refusals_beside_a_run() -> None:
    """Else callers without time could have a queue hold more than its longest wait allows."""
    worker = BlockingWorker()
    worker.open.set()
    batcher = Batcher(worker.work, BatcherLimits(4, 8))
    learn(batcher, 200.0, 0.0)
    hasty = RequestOptions(time.monotonic() + 50)
    found = batcher.submit_all([(rows(), RequestOptions(), 0), *[(rows(), hasty, 0)] * 3])
    reasons = [each.reason if isinstance(each, SealgateError) else None for each in found]
    assert reasons == [None, *[Reason.DEADLINE_TOO_SHORT] * 3]
    (cost,) = {batcher.pace.seconds(1)}
    again = RateEstimate()
    for size in (1, 2, 4, 8) * 4:
        again.ran(size, 200.0)
    again.ran(1, 0.0)
    assert cost == pytest.approx(again.seconds(1), abs=1e-3)


def test_rows_of_who_has_gone_take_nobody_s_time() -> None:
    worker = BlockingWorker()
    worker.open.set()
    batcher = Batcher(worker.work, BatcherLimits(4, 8))
    learn(batcher, 0.0, 20.0)
    hasty, gone = RequestOptions(time.monotonic() + 30), RequestOptions(active=lambda: False)
    left, found = batcher.submit_all([(rows(3), gone, 0), (rows(), hasty, 0)])
    assert isinstance(left, SealgateError)
    assert left.reason is Reason.DEADLINE_TOO_SHORT
    assert not isinstance(found, SealgateError)


def test_a_request_has_a_timeout_of_its_own() -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(4, 8, timeout=2.0))
    with Pool(2) as pool:
        first = begin(pool, worker, batcher)
        late = pool.submit(batcher.submit, rows(), RequestOptions(time.monotonic() + 100))
        assert reason(late) is Reason.DEADLINE_TOO_SHORT
        worker.open.set()
        first.result(60)


def test_with_one_level_nobody_overtakes() -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(3, 100, levels=1))
    with Pool(4) as pool:
        futures = [begin(pool, worker, batcher), add(pool, batcher, 2)]
        futures.append(pool.submit(batcher.submit, rows(3), RequestOptions(urgent=True)))
        queued(batcher, 2)
        worker.open.set()
        for future in futures:
            future.result(60)
    assert worker.batches == [[1], [2], [3]]


def test_batches_keep_within_what_memory_has_room_for() -> None:
    worker = BlockingWorker()
    capacity = RowCapacity(8)
    capacity.halve(4)
    batcher = Batcher(worker.work, BatcherLimits(8, 100), capacity)
    with Pool(8) as pool:
        futures = [begin(pool, worker, batcher)]
        futures += [add(pool, batcher) for _ in range(4)]
        futures.append(add(pool, batcher, 6))
        worker.open.set()
        for future in futures:
            future.result(60)
    # A single request with more rows is run all the same.
    assert worker.batches == [[1], [1, 1], [1, 1], [6]]


RUN = 100.0


class Saturated(RateEstimate):
    """Has seen full batches of eight rows alone, and learns nothing more."""

    def __init__(self) -> None:
        super().__init__()
        for _ in range(16):
            super().ran(8, RUN)

    def ran(self, rows: int, seconds: float) -> None:
        pass


def test_no_more_wait_than_are_run_within_the_longest_wait() -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(8, 100, wait=2.5 * RUN))
    batcher.pace = Saturated()
    worker.open.set()
    batcher.submit(rows())
    worker.wait_entered()
    worker.open.clear()
    with Pool(8) as pool:
        futures = [begin(pool, worker, batcher)]
        # Two batches and a half.
        futures += [add(pool, batcher, size=4) for _ in range(5)]
        with pytest.raises(SealgateError) as refused:
            batcher.submit(rows())
        assert refused.value.reason is Reason.QUEUE_FULL
        assert refused.value.retry == pytest.approx(2.5 * RUN)
        worker.open.set()
        for future in futures:
            future.result(60)


def test_two_batches_may_wait_however_long_they_take() -> None:
    worker = BlockingWorker()
    worker.open.set()
    batcher = Batcher(worker.work, BatcherLimits(8, 100, wait=RUN / 1000))
    batcher.pace = Saturated()
    batcher.submit(rows())
    assert batcher.queue.room == 16


def test_batches_of_a_preferred_size_bound_the_queue_as_full_ones_do() -> None:
    worker = BlockingWorker()
    worker.open.set()
    batcher = Batcher(worker.work, BatcherLimits(64, 1000, preferred=(8,), wait=100 * RUN))
    batcher.pace = Saturated()
    batcher.submit(rows())
    assert batcher.queue.room == 800


@pytest.mark.parametrize("sizes", [(8, 1), (1, 8)])
def test_no_request_of_a_full_batch_keeps_others_out_nor_they_it(sizes: tuple[int, int]) -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(8, 100, wait=RUN / 1000))
    batcher.pace = Saturated()
    worker.open.set()
    batcher.submit(rows())
    worker.wait_entered()
    worker.open.clear()
    with Pool(8) as pool:
        futures = [begin(pool, worker, batcher)]
        futures += [
            add(pool, batcher, size, caller)
            for caller, size in zip(("first", "second"), sizes, strict=True)
        ]
        worker.open.set()
        for future in futures:
            future.result(60)
