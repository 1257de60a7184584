"""A native transport without a gateway: it hands calls over to a handler, and passes all others
to a grpcio server, of the test.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from gateway.config.sections import GatewayLimits, Listeners
from gateway.transport.connections import Bounds
from gateway.transport.native import FrontContext, NativeFront, UpstreamSocket, front_limits
from gateway.transport.native.front import HANDED
from gateway.transport.native.upstream import PeerInterceptor
from gateway.transport.tls import ServerTls
from tests.support.harness.clients.http2 import Http2

PATIENCE = 60
(INFER,) = HANDED
ECHO, STREAM = "/test.Behind/Echo", "/test.Behind/Stream"


class Behind(grpc.GenericRpcHandler):
    """Methods of the server behind: one echoes a message, one a stream; contexts are kept."""

    def __init__(self) -> None:
        self.contexts: list[Any] = []
        self.ended = threading.Semaphore(0)

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method == STREAM:
            return grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.stream_unary_rpc_method_handler(self._echo)

    def _noted(self, context: Any) -> None:
        self.contexts.append(context)
        if not context.add_callback(self.ended.release):
            self.ended.release()

    def _echo(self, messages: Iterator[bytes], context: Any) -> bytes:
        self._noted(context)
        return b"".join(messages)

    def _stream(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self._noted(context)
        yield from messages


def listeners(tls: ServerTls | None, host: str = "127.0.0.1") -> Listeners:
    """All of them, each on a port of its own."""
    secure = {"tls": f"{host}:0", "mutual": f"{host}:0"} if tls else {}
    return Listeners(insecure=f"{host}:0", **secure)


class FrontHarness:
    """`bursts` are the calls that were handed over, as they came."""

    def __init__(
        self,
        handler: Callable[[FrontContext], None],
        tls: ServerTls | None = None,
        listen: Listeners | None = None,
        **limits: float,
    ) -> None:
        """`limits` are the crate's, where they differ from a gateway's."""
        self._handler = handler
        self.bursts: list[Sequence[FrontContext]] = []
        self.refused = 0
        self.behind = Behind()
        self.upstream = UpstreamSocket()
        peers = PeerInterceptor(self.upstream.secret)
        self.server = grpc.server(
            ThreadPoolExecutor(16),
            handlers=(self.behind,),
            interceptors=[peers],
            options=[("grpc.max_receive_message_length", -1)],
        )
        self.upstream.listen(self.server)
        bounds = GatewayLimits()
        self.front = NativeFront(
            listen or listeners(tls),
            tls,
            self.upstream,
            Bounds.of(bounds),
            front_limits(bounds, 64) | limits,
            self._count,
        )
        peers.show(self.front)
        self.port = self.front.ports["insecure"]

    def start(self) -> None:
        self.server.start()
        self.front.start(self._take)

    def close(self) -> None:
        self.front.close()
        self.server.stop(None).wait()
        self.upstream.remove()

    def channel(self) -> grpc.Channel:
        """To the listener without TLS, on a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        return grpc.insecure_channel(f"127.0.0.1:{self.port}", options)

    def raw(self, window: int = 65535) -> Http2:
        return Http2(self.port, window)

    def respond(self, answers: Sequence[Any]) -> None:
        """Answer past the contexts."""
        self.front.respond(answers)

    def _take(self, burst: Sequence[FrontContext]) -> None:
        self.bursts.append(burst)
        for context in burst:
            self._handler(context)

    def _count(self, count: int) -> None:
        self.refused += count


@contextmanager
def front_with(
    handler: Callable[[FrontContext], None],
    tls: ServerTls | None = None,
    listen: Listeners | None = None,
    **limits: float,
) -> Iterator[FrontHarness]:
    harness = FrontHarness(handler, tls, listen, **limits)
    harness.start()
    try:
        yield harness
    finally:
        harness.close()


def echo(context: FrontContext) -> None:
    context.answer(context.message)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def answers(front: FrontHarness) -> bool:
    with front.channel() as channel:
        return bool(channel.unary_unary(INFER)(b"x", timeout=PATIENCE) == b"x")
