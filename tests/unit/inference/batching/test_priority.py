"""Urgent requests in the batcher: they lead and fill batches first, and never shut others out."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.batching.batcher import Batcher, BatcherLimits
from inference.batching.job import RequestOptions
from inference.batching.queue import OVERTAKEN
from sealgate.reasons import Reason, SealgateError
from tests.support.fakes.blocking_worker import BlockingWorker, Rows, queued, reason, rows


class Tasting(BlockingWorker):
    """Remembers the values that were run together, rather than the sizes."""

    def work(self, requests: list[Rows]) -> list[Rows]:
        done = super().work(requests)
        self.batches[-1] = [int(part[0, 0]) for part in requests]
        return done


def test_urgent_requests_lead_and_the_rest_is_filled_up_in_order() -> None:
    worker = Tasting()
    batcher = Batcher(worker.work, BatcherLimits(3, 100))
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(batcher.submit, rows())]
        worker.wait_entered()
        for number, urgent in enumerate((False, False, True, False, True), 1):
            x = rows(1, 10 * number)
            futures.append(pool.submit(batcher.submit, x, RequestOptions(urgent=urgent)))
            queued(batcher, number)
        worker.open.set()
        for future in futures:
            future.result(60)
    assert worker.batches == [[1], [30, 50, 10], [20, 40]]


def test_ordinary_requests_are_run_however_many_urgent_ones_wait() -> None:
    worker = Tasting()
    batcher = Batcher(worker.work, BatcherLimits(1, 100))
    with ThreadPoolExecutor(2 * OVERTAKEN + 4) as pool:
        futures = [pool.submit(batcher.submit, rows())]
        worker.wait_entered()
        futures.append(pool.submit(batcher.submit, rows(1, 7)))
        queued(batcher, 1)
        for number in range(2 * OVERTAKEN):
            futures.append(pool.submit(batcher.submit, rows(1, 100), RequestOptions(urgent=True)))
            queued(batcher, number + 2)
        worker.open.set()
        for future in futures:
            future.result(60)
    assert worker.batches.index([7]) == 1 + OVERTAKEN


def test_a_full_level_refuses_its_own_alone() -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(2, 2))
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(batcher.submit, rows())]
        worker.wait_entered()
        futures.append(pool.submit(batcher.submit, rows(2), RequestOptions(urgent=True)))
        queued(batcher, 1)
        with pytest.raises(SealgateError) as refused:
            batcher.submit(rows(), RequestOptions(urgent=True))
        assert refused.value.reason is Reason.QUEUE_FULL
        futures.append(pool.submit(batcher.submit, rows(2)))
        queued(batcher, 2)
        worker.open.set()
        assert [len(future.result(60)) for future in futures] == [1, 2, 2]


def test_an_urgent_request_whose_time_runs_out_leaves_the_queue() -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(2, 2))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher.submit, rows())
        worker.wait_entered()
        late = pool.submit(
            batcher.submit, rows(2), RequestOptions(time.monotonic() + 0.02, urgent=True)
        )
        assert reason(late) is Reason.DEADLINE_TOO_SHORT
        assert (len(batcher.queue), batcher.queue.rows) == (0, 0)
        worker.open.set()
        first.result(60)


def test_the_time_in_the_queue_is_counted_for_those_who_were_run() -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(4, 8))
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batcher.submit, rows())
        worker.wait_entered()
        behind = pool.submit(batcher.submit, rows())
        queued(batcher, 1)
        late = pool.submit(batcher.submit, rows(), RequestOptions(time.monotonic() + 0.01))
        assert reason(late) is Reason.DEADLINE_TOO_SHORT
        time.sleep(0.05)
        worker.open.set()
        first.result(60)
        behind.result(60)
    counts = batcher.counts()
    assert (counts.requests, counts.dropped) == (2, 1)
    assert 50_000_000 < counts.waited_ns < 300_000_000_000
