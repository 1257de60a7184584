"""The threads on which calls are handled, and how many calls wait for one.

What gRPC asks of an executor, and no more: `concurrent.futures` makes each call a future with a
lock and a condition of its own and counts idle threads, at four times the cost.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_log = logging.getLogger(__name__)


class Task:
    """A call to be handled. Whoever wants to know of its end says so, before or after it."""

    __slots__ = ("_callbacks", "_came", "_given", "_threads", "_work", "is_over")

    def __init__(
        self, threads: "Threads", work: Callable[..., Any], given: tuple[Any, ...]
    ) -> None:
        self._threads = threads
        self._work = work
        self._given = given
        self._came = time.monotonic()
        self._callbacks: list[Callable[[Any], object]] = []
        self.is_over = False

    def run(self) -> None:
        self._threads.waited = time.monotonic() - self._came
        try:
            self._work(*self._given)
        except BaseException:  # the thread must outlive it; gRPC has caught what handlers raise
            _log.exception("handling a call")
        self.is_over = True
        self._tell()

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        self._callbacks.append(callback)
        if self.is_over:
            self._tell()

    def _tell(self) -> None:
        # Both ends may come here at once: who takes a callback out of the list is to call it.
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:
                return
            callback(self)


class Threads:
    """At most `most` threads; each of the first calls brings one. They end when nobody refers to
    this any more. `waited` is how many seconds the last call waited for its thread.
    """

    def __init__(self, most: int) -> None:
        self._missing = most
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.waited = 0.0
        weakref.finalize(self, self._tasks.put, None)

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return self._tasks.qsize()

    def submit(self, work: Callable[..., Any], /, *given: Any) -> Task:
        """Have `work` done soon. By gRPC's one serving thread alone."""
        task = Task(self, work, given)
        self._tasks.put(task)
        if self._missing:
            self._missing -= 1
            threading.Thread(target=_run, args=(self._tasks,), name="call", daemon=True).start()
        return task


def _run(tasks: "SimpleQueue[Task | None]") -> None:
    while (task := tasks.get()) is not None:
        task.run()
        # Or an idle thread would hold what it handled last.
        del task
    # For the next thread.
    tasks.put(None)
