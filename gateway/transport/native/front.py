"""The native transport of a gateway: its listeners, its bursts, its connections."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import grpc

from gateway.config.sections import Listeners
from gateway.transport.connections import Bounds
from gateway.transport.native.context import FrontContext, Reply, wire_metadata
from gateway.transport.native.upstream import UpstreamSocket
from gateway.transport.tls import ServedCertificate, ServerTls
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.errors import grpc_status
from sealgate.settings import ConfigError

if TYPE_CHECKING:
    import sealgate_front

_log = logging.getLogger(__name__)

HANDED = frozenset({"/inference.GRPCInferenceService/ModelInfer"})
_BURST = 256
_LOOK_SECONDS = 0.25
_GATHER_SECONDS = 0.0003
# Threads that wait for the front are woken by its end.
_LONG = 3600.0
_RETRY_SECONDS = 0.1

BurstHandler: TypeAlias = Callable[[Sequence[FrontContext]], None]
"""Takes a burst, and answers or refuses each of its calls, then or later, from any thread. Answers
that are made while it runs leave together when it returns."""


@dataclass(frozen=True, slots=True)
class FrontConnection:
    """A connection as `gateway.transport.connections` looks at it."""

    number: int
    listener: str
    address: str
    since: float
    is_known: bool


class NativeFront:
    """Listens from `start` to `stop`. `ports` has each listener's.

    A handler gets the calls of `HANDED` in bursts, on one thread. All others go to the server that
    listens on `upstream`.
    """

    def __init__(
        self,
        listen: Listeners,
        tls: ServerTls | None,
        upstream: UpstreamSocket,
        bounds: Bounds,
        limits: Mapping[str, float],
        count_refused: Callable[[int], None],
    ) -> None:
        """`limits` are those of the crate (`front_limits`). `count_refused` is told how many calls
        the front itself refused with QUEUE_FULL.

        Raises: ConfigError where an address cannot be bound or the certificate not be used.
        """
        import sealgate_front

        self._front = sealgate_front.Front(
            set(HANDED), str(upstream.path), upstream.secret, **limits
        )
        self._bounds = bounds
        self._tls = tls
        self._served: ServedCertificate | None = None
        self._count_refused = count_refused
        self._refused = 0
        self.ports: dict[str, int] = {}
        try:
            self._listen(listen)
        except BaseException:
            self._front.close()
            raise
        full = grpc_status(SealgateError(Reason.QUEUE_FULL, "load shedding", _RETRY_SECONDS))
        trailing = wire_metadata(full.trailing_metadata)
        self._front.set_full(full.code.value[0], full.details, trailing)
        self._held = threading.local()
        self._mutex = threading.Lock()
        self._watched: dict[int, FrontContext] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, handler: BurstHandler) -> None:
        bursts = partial(self._take_bursts, handler)
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for run, name in (
                (bursts, "bursts"),
                (self._take_gone, "front-gone"),
                (self._look_often, "front-connections"),
            )
        ]
        for thread in self._threads:
            thread.start()
        self._front.start()

    def drain(self) -> None:
        """Take no more connections, and tell callers to open no more calls."""
        self._front.drain()

    def stop(self, seconds: float) -> None:
        """End, after `drain`, when all calls are answered, or after `seconds`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            counts = self._front.counts()
            if not counts["calls"] and not counts["unsent"]:
                break
            time.sleep(0.01)
        self.close()

    def close(self) -> None:
        """End at once."""
        self._stopping.set()
        self._front.close()
        for thread in self._threads:
            thread.join()

    def respond(self, replies: "Sequence[sealgate_front.Answer]") -> None:
        """Answer calls with one wake-up. Raises: ValueError, for what has no answer's form, after
        the others are on their way.
        """
        self._front.respond(list(replies))

    def peer(self, connection: int) -> tuple[str, bytes | None] | None:
        """The peer of a connection: its address and certificate; None where it has ended."""
        return self._front.peer(connection)

    def note_caller(self, connection: int) -> None:
        """Say that a call on the connection has authenticated."""
        self._front.note_caller(connection)

    def look(self) -> int:
        """End the connections that are to be ended; returns how many that were."""
        counts = self._front.counts()
        if not counts["unknown"] and counts["connections"] <= self._bounds.connections:
            return 0
        now = time.monotonic()
        listeners: dict[str, list[FrontConnection]] = {}
        for number, listener, address, age, is_known in self._front.connections():
            each = FrontConnection(number, listener, address, now - age, is_known)
            listeners.setdefault(listener, []).append(each)
        ending = [
            each.number for group in listeners.values() for each in self._bounds.to_end(group, now)
        ]
        if ending:
            self._front.end(ending)
        return len(ending)

    def counts(self) -> dict[str, int]:
        """The numbers of connections and calls that the front holds now."""
        return self._front.counts()

    def _listen(self, listen: Listeners) -> None:
        for name, address in (("tls", listen.tls), ("mutual", listen.mutual)):
            if not address:
                continue
            if self._tls is None:
                raise ConfigError("[tls] is incomplete")
            self.ports[name] = self._bind(name, address, listen.share_ports)
        if listen.insecure:
            _log.warning("serving %s WITHOUT TLS, on loopback only", listen.insecure)
            self.ports["insecure"] = self._bind("insecure", listen.insecure, listen.share_ports)
        if self._tls is not None:
            try:
                self._serve(self._tls.served)
            except ValueError as error:
                raise ConfigError(f"[tls] cannot be served: {error}") from error

    def _bind(self, name: str, address: str, shared: bool) -> int:
        host, _, given = address.rpartition(":")
        port = int(given)
        try:
            for place in _addresses(host):
                port = self._front.listen(name, f"{place}:{port}", shared)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {address}: is another gateway using it?"
            ) from error
        return port

    def _serve(self, served: ServedCertificate) -> None:
        """Raises: ValueError."""
        for name in self.ports:
            if name != "insecure":
                authority = served.client_authority if name == "mutual" else None
                self._front.set_tls(name, served.certificate, served.key, authority)
        self._served = served

    def _take_bursts(self, handler: BurstHandler) -> None:
        expected = 1
        while not self._stopping.is_set():
            calls = self._gather(expected)
            expected = len(calls)
            self._handle(handler, calls)
            # Nothing of a burst is kept while the next is waited for.
            del calls

    def _gather(self, expected: int) -> "list[sealgate_front.Call]":
        """The next burst. Those who were answered together ask again within moments of each other:
        while fewer have come than last time, the others are waited for, though not for long.
        """
        calls = self._front.recv_batch(_BURST, _LONG)
        end = time.monotonic() + _GATHER_SECONDS
        while len(calls) < expected and (left := end - time.monotonic()) > 0:
            calls += self._front.recv_batch(_BURST - len(calls), left)
        return calls

    def _handle(self, handler: BurstHandler, calls: "list[sealgate_front.Call]") -> None:
        burst = [FrontContext(call, self) for call in calls]
        if not burst:
            return
        with self._together():
            try:
                handler(burst)
            except Exception:
                _log.exception("handling a burst of %d calls", len(burst))
                for context in burst:
                    context.refuse_internal()

    @contextmanager
    def _together(self) -> Iterator[None]:
        """This thread's answers in the block leave at its end."""
        self._held.replies = []
        try:
            yield
        finally:
            self.flush()
            self._held.replies = None

    def send(self, reply: Reply) -> None:
        held = getattr(self._held, "replies", None)
        if held is None:
            self._respond([reply])
        else:
            held.append(reply)

    def flush(self) -> None:
        """Have what this thread has answered in its burst leave now."""
        held = getattr(self._held, "replies", None)
        if held:
            self._held.replies = []
            self._respond(held)

    def _respond(self, replies: "list[sealgate_front.Answer]") -> None:
        if not replies:
            return
        try:
            self.respond(replies)
        except ValueError as error:
            # The front has refused those itself, and sent the others.
            _log.error("answering: %s", error)

    def refuse_alike(
        self, context: FrontContext, status: grpc.Status, beginning: int, seconds: float
    ) -> None:
        """See `FrontContext.refuse_alike`."""
        trailing = wire_metadata(status.trailing_metadata or ())
        number, details = status.code.value[0], status.details or ""
        context.call.refuse_alike(self._front, beginning, seconds, number, details, trailing)

    def watch(self, context: FrontContext) -> None:
        number = context.call.id
        with self._mutex:
            self._watched[number] = context
        context.add_callback(lambda: self._forget(number))
        context.call.watch(self._front)

    def _forget(self, number: int) -> None:
        with self._mutex:
            self._watched.pop(number, None)

    def _take_gone(self) -> None:
        while not self._stopping.is_set():
            for number in self._front.recv_gone(_LONG):
                self._leave(number)

    def _leave(self, number: int) -> None:
        with self._mutex:
            context = self._watched.get(number)
        if context is not None:
            context.leave()

    def _look_often(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            ended = self.look()
            if ended:
                _log.info("ended %d connections without an authenticated caller", ended)
            refused = self._front.counts()["refused"]
            if refused > self._refused:
                self._count_refused(refused - self._refused)
                self._refused = refused
            self._renew()

    def _renew(self) -> None:
        if self._tls is None:
            return
        served = self._tls.served
        if served is not self._served:
            try:
                self._serve(served)
            except ValueError as error:
                self._served = served
                _log.error("the new certificates cannot be served: %s", error)


def _addresses(host: str) -> list[str]:
    """The addresses of a host's name, as the front writes them. Raises: OSError."""
    found = []
    with suppress(UnicodeError):
        for family, _, _, _, place in socket.getaddrinfo(
            host.strip("[]") or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            text = f"[{place[0]}]" if family == socket.AF_INET6 else str(place[0])
            if text not in found:
                found.append(text)
    if not found:
        raise OSError(f"{host} stands for no address")
    return found
