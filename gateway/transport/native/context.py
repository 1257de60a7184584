"""A call that the native transport has handed over, with the surface of gRPC's context."""

import base64
import binascii
import gzip
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

import grpc

from gateway.auth import PEM_PROPERTY
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.errors import grpc_status

if TYPE_CHECKING:
    import sealgate_front

Value: TypeAlias = str | bytes
Reply: TypeAlias = "sealgate_front.Answer"

# Headers of gRPC's own, which are no metadata.
_RESERVED = frozenset(
    {"te", "content-type", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"}
)
_PACKED: Mapping[grpc.Compression, tuple[str, Callable[[bytes], bytes]]] = {
    grpc.Compression.Gzip: ("gzip", lambda message: gzip.compress(message, 6, mtime=0)),
    grpc.Compression.Deflate: ("deflate", zlib.compress),
}
_KEPT = 256


class Aborted(Exception):
    """Ends the handler of a call that has been refused."""


class Replies(Protocol):
    """Where a call's answer goes."""

    def send(self, reply: Reply) -> None: ...

    def flush(self) -> None: ...

    def watch(self, context: "FrontContext") -> None:
        """Have `leave` called if the caller leaves before the answer. Once for each call."""
        ...

    def refuse_alike(
        self, context: "FrontContext", status: grpc.Status, beginning: int, seconds: float
    ) -> None:
        """See `FrontContext.refuse_alike`."""
        ...


class FrontContext:
    """Ends once: by `answer`, `refuse`, or what gRPC's context offers. Safe for many threads.

    `add_callback` is told at the call's end, whether that is the answer or the caller's leaving.
    """

    __slots__ = ("_callbacks", "_code", "_metadata", "_mutex", "_packing", "_replies", "call")

    def __init__(
        self,
        call: "sealgate_front.Call",
        replies: Replies,
    ) -> None:
        self.call = call
        self._replies = replies
        self._mutex = threading.Lock()
        # None once the call is over.
        self._callbacks: list[Callable[[], None]] | None = []
        self._code: grpc.StatusCode | None = None
        self._packing: grpc.Compression | None = None
        self._metadata: tuple[tuple[str, Value], ...] | None = None

    @property
    def path(self) -> str:
        return self.call.path

    @property
    def message(self) -> bytes:
        """The request as it came, still compressed where its caller compressed it; a copy."""
        return self.call.message

    def answer(self, message: bytes) -> None:
        """End the call with its answer, serialized."""
        packing = _PACKED.get(self._packing) if self._packing is not None else None
        if packing is not None and self._takes(packing[0]):
            name, pack = packing
            self._end(grpc.StatusCode.OK, (self.call, pack(message), name))
        else:
            self._end(grpc.StatusCode.OK, (self.call, message))

    def refuse(self, status: grpc.Status) -> None:
        """End the call with a status."""
        trailing = wire_metadata(status.trailing_metadata or ())
        number = status.code.value[0]
        self._end(status.code, (self.call, number, status.details or "", trailing))

    def refuse_alike(self, status: grpc.Status, beginning: int, seconds: float) -> None:
        """Have the front refuse later calls, for so long: those of the same caller
        whose message begins with the same `beginning` bytes. One that says it is compressed,
        whether or not it is, stands for no other.
        """
        if self.call.is_compressed:
            return
        self._replies.refuse_alike(self, status, beginning, seconds)

    def refuse_internal(self) -> None:
        """End the call with INTERNAL, if it has not ended."""
        self.refuse(grpc_status(SealgateError(Reason.INTERNAL)))

    def flush(self) -> None:
        """Have what was answered so far in this burst leave now."""
        self._replies.flush()

    def leave(self) -> None:
        """Says that the caller has left, or that the deadline has passed."""
        self._finish(None)

    # The methods of gRPC's context.

    def invocation_metadata(self) -> Sequence[tuple[str, Value]]:
        """The same object for calls of a batch whose metadata is the same."""
        if self._metadata is None:
            self._metadata = self.call.metadata(_metadata_of)
        return self._metadata

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return certificate_properties(self.call.certificate)

    def peer(self) -> str:
        return self.call.peer

    def time_remaining(self) -> float | None:
        return self.call.time_remaining()

    def is_active(self) -> bool:
        return self.call.is_active()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        with self._mutex:
            if self._callbacks is None:
                return False
            is_first = not self._callbacks
            self._callbacks.append(callback)
        if is_first:
            self._replies.watch(self)
        return True

    def cancel(self) -> None:
        self._end(None, (self.call, grpc.StatusCode.CANCELLED.value[0], "Cancelled", ()))

    def set_compression(self, compression: grpc.Compression) -> None:
        self._packing = compression

    def code(self) -> grpc.StatusCode | None:
        """The status that a handler has ended the call with; None for a caller's leaving."""
        return self._code

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        self.refuse(status)
        raise Aborted

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self._end(code, (self.call, code.value[0], details, ()))
        raise Aborted

    def note_caller(self) -> None:
        """Says that this call has authenticated."""
        self.call.note_caller()

    def _takes(self, encoding: str) -> bool:
        accepted = b",".join(self.call.values("grpc-accept-encoding")).split(b",")
        return encoding.encode() in {each.strip() for each in accepted}

    def _end(self, code: grpc.StatusCode | None, reply: Reply) -> None:
        if self._finish(code):
            self._replies.send(reply)

    def _finish(self, code: grpc.StatusCode | None) -> bool:
        with self._mutex:
            callbacks, self._callbacks = self._callbacks, None
            if callbacks is None:
                return False
            self._code = code
        for callback in callbacks:
            callback()
        return True


@lru_cache(_KEPT)
def certificate_properties(der: bytes | None) -> Mapping[str, Sequence[bytes]]:
    """The fields of gRPC's `auth_context` for a certificate, as far as they are read."""
    return {} if der is None else {PEM_PROPERTY: [ssl.DER_cert_to_PEM_cert(der).encode()]}


def wire_metadata(metadata: Any) -> list[tuple[str, bytes]]:
    """Trailing metadata as it travels."""
    return [
        (name, base64.b64encode(value) if name.endswith("-bin") else _encoded(value))
        for name, value in metadata
    ]


def _encoded(value: Value) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


def _metadata_of(headers: Sequence[tuple[str, bytes]]) -> tuple[tuple[str, Value], ...]:
    return tuple(_read_metadata(headers))


def _read_metadata(headers: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, Value]]:
    for name, value in headers:
        if name in _RESERVED:
            continue
        if name.endswith("-bin"):
            for part in value.split(b","):
                try:
                    yield name, base64.b64decode(part + b"=" * (-len(part) % 4), validate=True)
                except binascii.Error:
                    continue
        else:
            yield name, value.decode("latin-1")
