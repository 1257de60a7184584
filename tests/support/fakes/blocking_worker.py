"""Work for a batcher that a test can hold back and look into."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import numpy.typing as npt

from inference.batching.batcher import Batcher
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
