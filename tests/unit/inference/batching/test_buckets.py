"""Requests of different buckets: none shares a batch with another's, and none waits for ever."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from inference.batching.batcher import Batcher, BatcherLimits
from inference.batching.job import RequestOptions
from tests.support.fakes.blocking_worker import BlockingWorker, queued, rows


@pytest.mark.parametrize("urgent", [False, True])
def test_only_requests_of_one_bucket_share_a_batch(urgent: bool) -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(100, 100))
    with ThreadPoolExecutor(8) as pool:
        ask: Any = partial(pool.submit, batcher.submit)  # type: ignore[call-arg]
        futures = [ask(rows())]
        worker.wait_entered()
        # Sizes tell the requests apart: odd ones are of one bucket, even ones of the other.
        for number, size in enumerate((1, 2, 3, 4, 5, 6), 1):
            futures.append(ask(rows(size), RequestOptions(urgent=urgent), bucket=size % 2))
            queued(batcher, number)
        worker.open.set()
        for future in futures:
            future.result(60)
    assert worker.batches == [[1], [1, 3, 5], [2, 4, 6]]


def test_whoever_comes_next_leads_whatever_its_bucket() -> None:
    """Others of the running batch's bucket pass it once, and not for ever."""
    worker = BlockingWorker()
    batcher = Batcher(worker.work, BatcherLimits(4, 100))
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(batcher.submit, rows())]
        worker.wait_entered()
        for number, (size, bucket) in enumerate(((1, 0), (2, 1), (3, 0), (4, 0)), 1):
            futures.append(pool.submit(batcher.submit, rows(size), bucket=bucket))
            queued(batcher, number)
        worker.open.set()
        for future in futures:
            future.result(60)
    assert worker.batches == [[1], [1, 3], [2], [4]]
