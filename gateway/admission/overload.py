"""Load shedding: rejects calls beyond capacity at once, and stops asking services that fail.

Load shedding: when all threads are busy and enough calls wait, more are rejected. Without this,
calls would queue for as long as their callers wait, and work for callers who gave up would be
wasted. gRPC's own limit on calls in flight tells neither why a call is refused nor when to try
again. Only inference is rejected this early, before authentication: an administrator's revocation
gets through under load.

A circuit breaker: after a service failed, one call a second tries it, and the others fail fast.
Every call would otherwise wait for the service's time-out and hold a thread for as long.
"""

import logging
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, TypeAlias

import grpc

from sealgate.reasons import Reason, SealgateError
from sealgate.remote.errors import grpc_status

_log = logging.getLogger(__name__)
PAUSE_SECONDS = 1.0


class Task:
    """A call to be handled. Callbacks for its end may be added before or after it."""

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
    """The threads that handle calls: an executor with no more than gRPC asks of one. A thread pool
    of `concurrent.futures` costs four times as much a call, for futures that nobody reads.

    At most `most` threads; each of the first calls brings one. They end when nobody refers to
    this any more. `waited` is how many seconds the last call waited for its thread.
    """

    def __init__(self, most: int) -> None:
        self._missing = most
        self._mutex = threading.Lock()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.waited = 0.0
        weakref.finalize(self, self._tasks.put, None)

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return self._tasks.qsize()

    def submit(self, work: Callable[..., Any], /, *given: Any) -> Task:
        """Have `work` done soon. From any thread."""
        task = Task(self, work, given)
        self._tasks.put(task)
        with self._mutex:
            is_missing = self._missing > 0
            self._missing -= is_missing
        if is_missing:
            threading.Thread(target=_run, args=(self._tasks,), name="call", daemon=True).start()
        return task


def _run(tasks: "SimpleQueue[Task | None]") -> None:
    while (task := tasks.get()) is not None:
        task.run()
        # Or an idle thread would hold what it handled last.
        del task
    # For the next thread.
    tasks.put(None)


_TURNED_AWAY = frozenset({"/inference.GRPCInferenceService/ModelInfer"})

# Generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class _AtOnce(ThreadPoolExecutor):
    """No threads: the work is done by who brings it. gRPC takes nothing but a ThreadPoolExecutor
    for a handler's own.
    """

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(work(*given, **named))
        return done


class LoadShedder(grpc.ServerInterceptor):
    """Stands before the auth interceptor."""

    def __init__(self, threads: Threads, most: int, counted: Counter[str]) -> None:
        """No more than `most` calls may wait; who is turned away is `counted`, by reason."""
        self._threads = threads
        self._most = most
        self._counted = counted
        self._refusing = _handler(self._refuse)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Handler | None"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        if self._threads.waiting >= self._most and handler_call_details.method in _TURNED_AWAY:
            return self._refusing
        return continuation(handler_call_details)

    def _refuse(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> None:
        self._counted[Reason.QUEUE_FULL.name] += 1
        retry = max(self._threads.waited, 0.1)
        context.abort_with_status(
            grpc_status(SealgateError(Reason.QUEUE_FULL, "load shedding", retry))
        )


def _handler(refuse: Callable[[Iterator[bytes], grpc.ServicerContext], None]) -> Handler:
    """A handler that reads nothing of its call, and runs on gRPC's serving thread: to be handed to
    another is what a refusal would have to wait for.
    """

    def refusing(messages: Iterator[bytes], context: grpc.ServicerContext) -> None:
        refuse(messages, context)

    refusing.experimental_thread_pool = _AtOnce(1)  # type: ignore[attr-defined]
    return grpc.stream_unary_rpc_method_handler(refusing)


class CircuitBreaker:
    """Safe for many threads. `clock` is in seconds."""

    def __init__(self, reason: Reason, clock: Callable[[], float] = time.monotonic) -> None:
        """`reason` is that of the refusal of a call that fails fast."""
        self._reason = reason
        self._clock = clock
        self._mutex = threading.Lock()
        self._is_open = False
        self._try_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the last call failed."""
        return self._is_open

    @contextmanager
    def calling(self, *failures: type[Exception]) -> Iterator[None]:
        """Run the block unless the circuit is open. One of `failures` opens it; an end without an
        exception closes it.

        Raises: SealgateError(reason), with the time after which to try again.
        """
        if self._is_open:
            self._take_turn()
        try:
            yield
        except failures:
            self._is_open, self._try_at = True, self._clock() + PAUSE_SECONDS
            raise
        self._is_open = False

    def _take_turn(self) -> None:
        with self._mutex:
            now = self._clock()
            if now < self._try_at:
                raise SealgateError(self._reason, "it did not answer", self._try_at - now)
            self._try_at = now + PAUSE_SECONDS
