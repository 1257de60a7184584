"""What comes when all threads are taken and enough calls wait for one is refused there and then.

Without this, calls would queue for as long as their callers have patience, the work of those who
lost it would be in vain, and gRPC's own refusal, at its bound on calls in flight, says neither why
nor when to come again. Only inference is turned away so early, before anyone looks at who asks: an
administrator's revocation gets through under load.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import grpc

from gateway.admission.threads import Threads
from sealgate.reasons import Reason, Refusal
from sealgate.remote.statuses import grpc_status

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
        context.abort_with_status(grpc_status(Refusal(Reason.QUEUE_FULL, "load shedding", retry)))


def _handler(refuse: Callable[[Iterator[bytes], grpc.ServicerContext], None]) -> Handler:
    """A handler that reads nothing of its call, and runs on gRPC's serving thread: to be handed to
    another is what a refusal would have to wait for.
    """

    def refusing(messages: Iterator[bytes], context: grpc.ServicerContext) -> None:
        refuse(messages, context)

    refusing.experimental_thread_pool = _AtOnce(1)  # type: ignore[attr-defined]
    return grpc.stream_unary_rpc_method_handler(refusing)
