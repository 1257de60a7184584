"""The batcher: what it runs together, what it refuses, and that nobody is left waiting."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from inference.batching.batcher import Batcher, BatcherLimits
from inference.batching.job import RequestOptions
from inference.batching.limits import BatcherLimits as QueueLimits
from sealgate.reasons import Reason, SealgateError
from tests.support.fakes.blocking_worker import BlockingWorker, Rows, queued, reason, rows


@pytest.fixture
def worker() -> BlockingWorker:
    return BlockingWorker()


def test_a_lone_request_runs_at_once_on_its_own_thread(worker: BlockingWorker) -> None:
    worker.open.set()
    threads: list[int] = []

    def work(requests: list[Rows]) -> list[Rows]:
        threads.append(threading.get_ident())
        return worker.work(requests)

    batcher = Batcher(work, BatcherLimits(8, 8, delay=60.0))
    started = time.monotonic()
    assert batcher.submit(rows(3)).tolist() == [[2.0, 2.0]] * 3
    assert time.monotonic() - started < 30
    assert threads == [threading.get_ident()]


def test_who_comes_meanwhile_runs_together(worker: BlockingWorker) -> None:
    batcher = Batcher(worker.work, BatcherLimits(4, 100))
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher.submit, rows())
        worker.wait_entered()
        others = []
        for number, size in enumerate((1, 2, 3, 1), 1):
            others.append(pool.submit(batcher.submit, rows(size, number)))
            queued(batcher, number)
        worker.open.set()
        assert first.result(60).shape == (1, 2)
        for number, (size, future) in enumerate(zip((1, 2, 3, 1), others, strict=True), 1):
            assert np.array_equal(future.result(60), rows(size, 2 * number))
    # In order, as many as fit into four rows.
    assert worker.batches == [[1], [1, 2], [3, 1]]
    counts = batcher.counts()
    assert (counts.requests, counts.batches, counts.rows, counts.dropped) == (5, 3, 8, 0)


def test_lanes_run_side_by_side(worker: BlockingWorker) -> None:
    batcher = Batcher(worker.work, BatcherLimits(4, 4, lanes=2))
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(batcher.submit, rows()) for _ in range(2)]
        worker.wait_entered()
        worker.wait_entered()
        futures.append(pool.submit(batcher.submit, rows()))
        queued(batcher, 1)
        worker.open.set()
        assert [len(future.result(60)) for future in futures] == [1, 1, 1]


def test_the_queue_is_bounded_in_rows(worker: BlockingWorker) -> None:
    batcher = Batcher(worker.work, BatcherLimits(4, 5))
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.submit, rows())
        worker.wait_entered()
        second = pool.submit(batcher.submit, rows(4))
        queued(batcher, 1)
        with pytest.raises(SealgateError) as refused:
            batcher.submit(rows(2))
        assert refused.value.reason is Reason.QUEUE_FULL
        third = pool.submit(batcher.submit, rows(1))
        queued(batcher, 2)
        worker.open.set()
        assert [len(future.result(60)) for future in (first, second, third)] == [1, 4, 1]


@pytest.mark.parametrize("count", [0, 5])
def test_a_request_must_fit_a_batch(worker: BlockingWorker, count: int) -> None:
    with pytest.raises(SealgateError) as refused:
        Batcher(worker.work, BatcherLimits(4, 8)).submit(rows(count))
    assert refused.value.reason is Reason.BATCH_TOO_LARGE


def test_a_deadline_ends_the_wait_and_the_item_never_runs(worker: BlockingWorker) -> None:
    batcher = Batcher(worker.work, BatcherLimits(4, 8))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher.submit, rows())
        worker.wait_entered()
        late = pool.submit(batcher.submit, rows(2), RequestOptions(time.monotonic() + 0.02))
        assert reason(late) is Reason.DEADLINE_TOO_SHORT
        worker.open.set()
        assert len(first.result(60)) == 1
    assert worker.batches == [[1]]
    assert batcher.queue.rows == 0
    assert batcher.counts().dropped == 1


def test_a_passed_deadline_is_refused_without_a_run(worker: BlockingWorker) -> None:
    worker.open.set()
    batcher = Batcher(worker.work, BatcherLimits(4, 8))
    with pytest.raises(SealgateError) as refused:
        batcher.submit(rows(), RequestOptions(time.monotonic() - 1))
    assert refused.value.reason is Reason.DEADLINE_TOO_SHORT
    assert worker.batches == []
    assert len(batcher.submit(rows())) == 1


def test_a_deadline_within_the_run_frees_the_caller_alone(worker: BlockingWorker) -> None:
    held = threading.Event()

    def work(requests: list[Rows]) -> list[Rows]:
        if len(requests) > 1:
            assert held.wait(60)
        return worker.work(requests)

    batcher = Batcher(work, BatcherLimits(4, 8))
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batcher.submit, rows())
        worker.wait_entered()
        leader = pool.submit(batcher.submit, rows())
        queued(batcher, 1)
        hurried = pool.submit(batcher.submit, rows(), RequestOptions(time.monotonic() + 2))
        queued(batcher, 2)
        worker.open.set()
        assert len(first.result(60)) == 1
        assert reason(hurried) is Reason.DEADLINE_TOO_SHORT
        held.set()
        assert len(leader.result(60)) == 1
    assert worker.batches == [[1], [1, 1]]


def test_work_whose_caller_has_gone_is_dropped(worker: BlockingWorker) -> None:
    batcher = Batcher(worker.work, BatcherLimits(4, 8))
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.submit, rows())
        worker.wait_entered()
        # The first in the queue is the one that will lead; it must lead though it is not wanted.
        gone = pool.submit(batcher.submit, rows(), RequestOptions(active=lambda: False))
        queued(batcher, 1)
        stays = pool.submit(batcher.submit, rows(2), RequestOptions(active=lambda: True))
        queued(batcher, 2)
        worker.open.set()
        assert reason(gone) is Reason.DEADLINE_TOO_SHORT
        assert len(first.result(60)) == 1
        assert len(stays.result(60)) == 2
    assert worker.batches == [[1], [2]]


def test_a_failed_batch_fails_its_members_and_no_other(worker: BlockingWorker) -> None:
    batcher = Batcher(worker.work, BatcherLimits(4, 8))
    worker.fails = True
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(batcher.submit, rows())]
        worker.wait_entered()
        for number in (1, 2):
            futures.append(pool.submit(batcher.submit, rows()))
            queued(batcher, number)
        worker.open.set()
        assert [reason(future) for future in futures] == [Reason.INTERNAL] * 3
        assert len({id(future.exception()) for future in futures}) == 3
    worker.fails = False
    assert len(batcher.submit(rows())) == 1


def test_closing_refuses_the_new_and_finishes_the_queued(worker: BlockingWorker) -> None:
    batcher = Batcher(worker.work, BatcherLimits(1, 8))
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(batcher.submit, rows())]
        worker.wait_entered()
        for number in (1, 2):
            futures.append(pool.submit(batcher.submit, rows()))
            queued(batcher, number)
        assert batcher.close(0.01) is False
        with pytest.raises(SealgateError) as refused:
            batcher.submit(rows())
        assert refused.value.reason is Reason.DRAINING
        worker.open.set()
        assert batcher.close(60) is True
        assert [len(future.result(60)) for future in futures] == [1, 1, 1]


def test_an_interrupted_waiter_does_not_keep_the_lane(
    worker: BlockingWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        """A gate at which a thread is interrupted once it has been told to lead."""

        def __init__(self) -> None:
            self._taken = False
            self._told = threading.Event()

        def acquire(self, timeout: float = -1) -> bool:
            if self._taken:
                self._told.wait(60)
                raise KeyboardInterrupt
            self._taken = True
            return True

        def release(self) -> None:
            self._told.set()

    batcher = Batcher(worker.work, BatcherLimits(4, 8))
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.submit, rows())
        worker.wait_entered()
        with monkeypatch.context() as patch:
            patch.setattr("inference.batching.lanes.Gate", Interrupted)
            broken = pool.submit(batcher.submit, rows())
            queued(batcher, 1)
        behind = pool.submit(batcher.submit, rows(2))
        queued(batcher, 2)
        worker.open.set()
        assert len(first.result(60)) == 1
        assert isinstance(broken.exception(60), KeyboardInterrupt)
        assert len(behind.result(60)) == 2


def test_many_threads_each_get_their_own_rows_back(worker: BlockingWorker) -> None:
    worker.open.set()
    batcher = Batcher(worker.work, BatcherLimits(8, 1000, delay=0.0002, lanes=2))

    def call(number: int) -> bool:
        x = rows(1 + number % 3, number)
        return all(np.array_equal(batcher.submit(x), 2 * x) for _ in range(50))

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(call, range(64)))
    assert batcher.counts().requests == 64 * 50
    assert max(map(sum, worker.batches)) <= 8
    assert batcher.close(60)


@pytest.mark.parametrize("lanes", [1, 2])
def test_whatever_is_refused_no_lane_and_no_place_is_lost(lanes: int) -> None:
    def work(requests: list[Rows]) -> list[Rows]:
        time.sleep(0.0002)
        if len(requests) == 3:
            raise ArithmeticError("burnt")
        return requests

    batcher = Batcher(work, BatcherLimits(6, 12, delay=0.0002, lanes=lanes))
    refused: set[Reason] = set()

    def call(number: int) -> None:
        for turn in range(60):
            deadline = time.monotonic() + 0.0004 * (turn % 4) if turn % 2 else None
            x = rows(1 + (number + turn) % 5, number)
            try:
                assert np.array_equal(
                    batcher.submit(x, RequestOptions(deadline, active=lambda: number != 7)), x
                )
            except SealgateError as refusal:
                refused.add(refusal.reason)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(call, range(12)))
    assert refused <= {Reason.DEADLINE_TOO_SHORT, Reason.QUEUE_FULL, Reason.INTERNAL}
    assert Reason.DEADLINE_TOO_SHORT in refused
    assert batcher.close(5)
    assert (len(batcher.queue), batcher.queue.rows, batcher.free_lanes) == (0, 0, lanes)


@pytest.mark.parametrize(("lanes", "expected"), [(1, 9.0), (2, 4.5)])
def test_a_full_queue_counts_each_of_its_batches(lanes: int, expected: float) -> None:
    worker = BlockingWorker()
    batcher = Batcher(worker.work, QueueLimits(4, 16, lanes=lanes))
    for size in (1, 2, 4, 8) * 4:
        batcher.pace.ran(size, 2.0 + 0.0625 * size)
    with ThreadPoolExecutor(8) as pool:
        futures = []
        for _ in range(lanes):
            futures.append(pool.submit(batcher.submit, rows()))
            worker.wait_entered()
        for number in range(4):
            futures.append(pool.submit(batcher.submit, rows(4)))
            queued(batcher, number + 1)
        with pytest.raises(SealgateError) as refused:
            batcher.submit(rows())
        assert refused.value.reason is Reason.QUEUE_FULL
        assert refused.value.retry == pytest.approx(expected)
        worker.open.set()
        for future in futures:
            future.result(60)
