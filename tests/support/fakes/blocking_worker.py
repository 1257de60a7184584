"""Work for a batcher that a test can hold back and look into."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future

import numpy as np
import numpy.typing as npt

from inference.batching.batcher import Batcher
from inference.batching.job import RequestOptions
from sealgate.reasons import Reason, SealgateError

Rows = npt.NDArray[np.float32]


class BlockingWorker:
    """Work that a test can hold back: doubles each request's rows and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.fails = False

    def work(self, requests: list[Rows]) -> list[Rows]:
        self.batches.append([len(rows) for rows in requests])
        self.entered.release()
        assert self.open.wait(60)
        if self.fails:
            raise ArithmeticError("burnt")
        return [rows * 2 for rows in requests]

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=60)


def rows(count: int = 1, value: float = 1.0) -> Rows:
    return np.full((count, 2), value, np.float32)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.001)


def queued(batcher: Batcher[Rows, Rows], count: int) -> None:
    until(lambda: len(batcher.queue) == count)


def reason(future: "Future[Rows]") -> Reason:
    error = future.exception(60)
    assert isinstance(error, SealgateError)
    return error.reason


def begin(pool: Executor, worker: BlockingWorker, batcher: Batcher[Rows, Rows]) -> "Future[Rows]":
    first = pool.submit(batcher.submit, rows())
    worker.wait_entered()
    return first


def add(
    pool: Executor, batcher: Batcher[Rows, Rows], size: int = 1, caller: str = ""
) -> "Future[Rows]":
    count = len(batcher.queue)
    future = pool.submit(batcher.submit, rows(size), RequestOptions(caller=caller))
    queued(batcher, count + 1)
    return future


def learn(batcher: Batcher[Rows, Rows], fixed: float, per_row: float) -> None:
    for size in (1, 2, 4, 8) * 4:
        batcher.pace.ran(size, fixed + per_row * size)
