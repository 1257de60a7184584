"""Bursts: one thread brings many requests to the batcher, and each keeps its own outcome."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.batching.batcher import Batcher
from inference.batching.job import RequestOptions
from inference.batching.limits import BatcherLimits
from sealgate.reasons import Reason, SealgateError


class Doubler:
    """Answers each request with its numbers doubled, and remembers its batches. A batch waits at
    `gate` while that is closed.
    """

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, requests: list[list[int]]) -> list[list[int]]:
        self.batches.append(requests)
        self.entered.set()
        assert self.gate.wait(60)
        return [[2 * number for number in request] for request in requests]


def asked(*requests: list[int], **options: object) -> list[tuple[list[int], RequestOptions, int]]:
    return [(request, RequestOptions(**options), 0) for request in requests]


def reasons(results: list[list[int] | SealgateError]) -> list[object]:
    return [each.reason if isinstance(each, SealgateError) else each for each in results]


def test_a_burst_runs_in_as_few_batches_as_fit() -> None:
    work = Doubler()
    batcher = Batcher(work, BatcherLimits(max_rows=4, queue_rows=64))
    results = batcher.submit_all(asked(*([number] for number in range(10))))
    assert results == [[2 * number] for number in range(10)]
    assert [len(batch) for batch in work.batches] == [4, 4, 2]
    assert batcher.counts().requests == 10


def test_an_empty_burst_has_no_results() -> None:
    assert Batcher(Doubler(), BatcherLimits(max_rows=4, queue_rows=64)).submit_all([]) == []


def test_each_request_of_a_burst_has_its_own_error() -> None:
    batcher = Batcher(Doubler(), BatcherLimits(max_rows=2, queue_rows=64))
    late = RequestOptions(deadline=time.monotonic() - 1)
    gone = RequestOptions(active=lambda: False)
    results = batcher.submit_all(
        [
            ([1, 2, 3], RequestOptions(), 0),
            ([4], RequestOptions(), 0),
            ([5], late, 0),
            ([6], gone, 0),
        ]
    )
    assert reasons(results) == [
        Reason.BATCH_TOO_LARGE,
        [8],
        Reason.DEADLINE_TOO_SHORT,
        Reason.DEADLINE_TOO_SHORT,
    ]


def test_a_failed_batch_fails_its_own_requests_alone() -> None:
    def work(requests: list[list[int]]) -> list[list[int]]:
        if [1] in requests:
            raise SealgateError(Reason.GRAPH_MISMATCH)
        return requests

    batcher = Batcher(work, BatcherLimits(max_rows=1, queue_rows=64))
    assert reasons(batcher.submit_all(asked([1], [2]))) == [Reason.GRAPH_MISMATCH, [2]]


def test_a_burst_beyond_the_queue_is_refused_in_part() -> None:
    batcher = Batcher(Doubler(), BatcherLimits(max_rows=4, queue_rows=4))
    results = reasons(batcher.submit_all(asked(*([number] for number in range(6)))))
    assert results == [[0], [2], [4], [6], Reason.QUEUE_FULL, Reason.QUEUE_FULL]


def test_a_full_queue_is_shared_between_the_callers_of_a_burst() -> None:
    batcher = Batcher(Doubler(), BatcherLimits(max_rows=4, queue_rows=4))
    greedy = asked(*([number] for number in range(4)), caller="greedy")
    results = reasons(batcher.submit_all([*greedy, *asked([9], caller="modest")]))
    assert results == [[0], [2], [4], Reason.QUEUE_FULL, [18]]


def test_urgent_requests_of_a_burst_run_first() -> None:
    work = Doubler()
    batcher = Batcher(work, BatcherLimits(max_rows=2, queue_rows=64))
    batcher.submit_all([*asked([1], [2], [3]), *asked([4], urgent=True)])
    assert work.batches == [[[4], [1]], [[2], [3]]]


@pytest.mark.parametrize("others", [1, 3])
def test_a_burst_and_other_threads_share_batches(others: int) -> None:
    work = Doubler()
    batcher = Batcher(work, BatcherLimits(max_rows=8, queue_rows=64))
    work.gate.clear()
    with ThreadPoolExecutor(others + 2) as threads:
        first = threads.submit(batcher.submit, [1])
        assert work.entered.wait(60)
        alone = [threads.submit(batcher.submit, [10 + place]) for place in range(others)]
        burst = threads.submit(batcher.submit_all, asked([2], [3]))
        while batcher.counts().waiting < others + 2:
            time.sleep(0.001)
        work.gate.set()
        assert first.result(60) == [2]
        assert [each.result(60) for each in alone] == [[20 + 2 * place] for place in range(others)]
        assert burst.result(60) == [[4], [6]]
    assert len(work.batches) == 2


def test_a_burst_does_not_wait_beyond_its_deadlines() -> None:
    work = Doubler()
    batcher = Batcher(work, BatcherLimits(max_rows=1, queue_rows=64))
    work.gate.clear()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(batcher.submit, [1])
        assert work.entered.wait(60)
        results = batcher.submit_all(asked([2], [3], deadline=time.monotonic() + 0.05))
        assert reasons(results) == [Reason.DEADLINE_TOO_SHORT] * 2
        work.gate.set()
        assert first.result(60) == [2]
    assert batcher.counts().waiting == 0


def test_a_burst_is_refused_while_draining() -> None:
    batcher = Batcher(Doubler(), BatcherLimits(max_rows=1, queue_rows=64))
    batcher.close()
    assert reasons(batcher.submit_all(asked([1], [2]))) == [Reason.DRAINING] * 2


def test_a_hung_run_fails_a_waiting_burst() -> None:
    work = Doubler()
    batcher = Batcher(work, BatcherLimits(max_rows=1, queue_rows=64))
    work.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(batcher.submit, [1])
        assert work.entered.wait(60)
        burst = threads.submit(batcher.submit_all, asked([2], [3]))
        while batcher.counts().waiting < 2:
            time.sleep(0.001)
        batcher.give_up()
        assert reasons(burst.result(60)) == [Reason.RUN_HUNG] * 2
        work.gate.set()
        first.result(60)
