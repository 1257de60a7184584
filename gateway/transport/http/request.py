"""A request whose head has come: its headers, and its body when somebody wants it."""

import time
from collections.abc import Callable
from typing import Any

import h11

from gateway.transport.http.answer import HttpStream
from gateway.transport.http.peer import HttpContext, Peer
from inference.observability.tracing import TRACEPARENT
from sealgate.reasons import Reason, Refusal

# Smaller parts than this on average, once there are many, cost more than they bring.
_MANY_PARTS, _LEAST_PART = 1024, 64


class Request:
    """`event` gives the next thing that the other end says, until a time by the monotonic clock.

    Of one without a body nothing more is to come. `out` takes an answer in parts.
    """

    def __init__(
        self, head: h11.Request, peer: Peer, event: Callable[[float], Any], out: HttpStream
    ) -> None:
        # h11 admits nothing but ASCII here.
        self.verb = head.method.decode()
        self.target = head.target.decode()
        self._headers = head.headers
        self._event = event
        self.out = out
        self.context = HttpContext(
            peer, self._all(b"authorization"), self._all(TRACEPARENT.encode())
        )
        self.has_body = bool(
            self._all(b"transfer-encoding") or self._all(b"content-length") not in ([], ["0"])
        )

    def header(self, name: str) -> str | None:
        """A header's value, None where it was not sent. Raises: MESSAGE_MALFORMED for two."""
        values = self._all(name.encode())
        if len(values) > 1:
            raise Refusal(Reason.MESSAGE_MALFORMED, f"{name} twice")
        return values[0] if values else None

    def body(self, largest: int, seconds: float) -> bytearray:
        """The body, of `largest` bytes at most, which must come within the `seconds`.

        Raises: MESSAGE_TOO_LARGE, before it is read where its length was stated;
        MESSAGE_MALFORMED; DEADLINE_TOO_SHORT where it does not come in time.
        """
        self._check_length(largest)
        try:
            return self._read(largest, time.monotonic() + seconds)
        except h11.RemoteProtocolError as error:
            raise Refusal(Reason.MESSAGE_MALFORMED, str(error)) from error
        except OSError as error:
            raise Refusal(Reason.DEADLINE_TOO_SHORT, "the body did not come") from error

    def _check_length(self, largest: int) -> None:
        length = self.header("content-length")
        if length is None:
            return
        if self._all(b"transfer-encoding"):
            # Two ends may differ on which of them holds.
            raise Refusal(Reason.MESSAGE_MALFORMED, "a length beside a transfer encoding")
        if int(length) > largest:
            raise Refusal(Reason.MESSAGE_TOO_LARGE, f"{length} bytes")

    def _read(self, largest: int, end: float) -> bytearray:
        body, parts = bytearray(), 0
        while self.has_body and not isinstance(event := self._event(end), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise Refusal(Reason.MESSAGE_MALFORMED, "the connection ended")
            body += event.data
            parts += 1
            if len(body) > largest:
                raise Refusal(Reason.MESSAGE_TOO_LARGE, "more than the gateway takes")
            if parts > _MANY_PARTS and len(body) < _LEAST_PART * parts:
                raise Refusal(Reason.MESSAGE_MALFORMED, "in crumbs")
        return body

    def _all(self, name: bytes) -> list[str]:
        return [value.decode("latin-1") for key, value in self._headers if key == name]
