"""One HTTP/1.1 connection: h11 reads and writes the protocol, this the socket.

Nothing is waited for without end. The handshake has five seconds, a request's head ten from its
first bytes, an answer ten to be taken; a connection on which nobody asks is closed after thirty. So
a caller that drips holds no more than its own connection, and that briefly.
"""

import logging
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import h11

from gateway.transport.http.bodies import MALFORMED, HttpAnswer, HttpStream
from gateway.transport.http.gateway import HttpGateway
from gateway.transport.http.peer import HttpContext, HttpTls, Peer
from inference.observability.tracing import TRACEPARENT
from sealgate.reasons import Reason, SealgateError

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
            raise SealgateError(Reason.MESSAGE_MALFORMED, f"{name} twice")
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
            raise SealgateError(Reason.MESSAGE_MALFORMED, str(error)) from error
        except OSError as error:
            raise SealgateError(Reason.DEADLINE_TOO_SHORT, "the body did not come") from error

    def _check_length(self, largest: int) -> None:
        length = self.header("content-length")
        if length is None:
            return
        if self._all(b"transfer-encoding"):
            # Two ends may differ on which of them holds.
            raise SealgateError(Reason.MESSAGE_MALFORMED, "a length beside a transfer encoding")
        if int(length) > largest:
            raise SealgateError(Reason.MESSAGE_TOO_LARGE, f"{length} bytes")

    def _read(self, largest: int, end: float) -> bytearray:
        body, parts = bytearray(), 0
        while self.has_body and not isinstance(event := self._event(end), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise SealgateError(Reason.MESSAGE_MALFORMED, "the connection ended")
            body += event.data
            parts += 1
            if len(body) > largest:
                raise SealgateError(Reason.MESSAGE_TOO_LARGE, "more than the gateway takes")
            if parts > _MANY_PARTS and len(body) < _LEAST_PART * parts:
                raise SealgateError(Reason.MESSAGE_MALFORMED, "in crumbs")
        return body

    def _all(self, name: bytes) -> list[str]:
        return [value.decode("latin-1") for key, value in self._headers if key == name]


_log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 5.0
HEAD_SECONDS = 10.0
IDLE_SECONDS = 30.0
_SEND_SECONDS = 10.0
# How long a caller that was answered early goes on being listened to, so that it hears the answer.
_LINGER_SECONDS = 2.0
_HEAD_BYTES = 16 * 1024
_PIECE_BYTES = 64 * 1024


class HttpConnection:
    """Answers what comes on a socket, one request after another, until either end has enough."""

    def __init__(
        self, plain: socket.socket, address: str, tls: HttpTls | None, gateway: HttpGateway
    ) -> None:
        self.address = address
        self.since = time.monotonic()
        self._socket = plain
        self._tls = tls
        self._gateway = gateway
        self._http = h11.Connection(h11.SERVER, _HEAD_BYTES)
        self._peer = Peer(plain, None)
        self._is_idle = False
        self._is_last = False
        self.is_cut = False
        self._verb = ""

    @property
    def is_known(self) -> bool:
        """Whether a call has authenticated here."""
        return self._peer.is_known

    def run(self) -> None:
        """Returns when the connection is closed."""
        try:
            self._begin()
            while self._answer_one():
                pass
        except OSError:
            # Callers that break off, say no hello or take nothing are no news.
            pass
        except Exception:  # the outermost boundary of the connection's thread
            _log.exception("an HTTP connection")
        finally:
            self._socket.close()

    def finish(self) -> None:
        """Answers what is being asked, and nothing after it. Called from another thread."""
        self._is_last = True
        if self._is_idle:
            self._peer.cut()

    def cut(self) -> None:
        """Ends it at once, from another thread."""
        self.is_cut = True
        self._peer.cut()

    def _begin(self) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(HANDSHAKE_SECONDS)
        if self._tls is not None:
            secure = self._tls.context.wrap_socket(
                self._socket, server_side=True, do_handshake_on_connect=False
            )
            self._socket = secure
            self._peer = Peer(secure, None)
            secure.do_handshake()
            self._peer = Peer(secure, secure.getpeercert(binary_form=True))

    def _answer_one(self) -> bool:
        """Answers one request; whether another may come."""
        try:
            request = self._request()
        except h11.RemoteProtocolError:
            self._gateway.count(MALFORMED)
            self._answer(MALFORMED)
            return self._part()
        if request is None:
            return False
        answer = self._gateway.answer(request)
        if not answer.is_sent:
            self._answer(answer)
        if self._is_unread:
            return self._part()
        if self._http.our_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def _request(self) -> Request | None:
        """The next request; None where none comes any more."""
        self._verb = ""
        if not self._http.trailing_data[0]:
            self._is_idle = True
            # In this order: whoever sets the one looks at the other afterwards.
            if self._is_last:
                return None
            self._receive(time.monotonic() + IDLE_SECONDS, _HEAD_BYTES)
            self._is_idle = False
        head = self._event(time.monotonic() + HEAD_SECONDS, _HEAD_BYTES)
        if not isinstance(head, h11.Request):
            return None
        request = Request(head, self._peer, self._event, self)
        self._verb = request.verb
        if not request.has_body:
            # Its end has come too, and only waits to be asked for.
            self._http.next_event()
        return request

    def _event(self, end: float, most: int = _PIECE_BYTES) -> Any:
        """The next thing that the other end says, by `end` on the monotonic clock.

        Raises: TimeoutError and other OSErrors, RemoteProtocolError.
        """
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
            self._receive(end, most)
        return event

    def _receive(self, end: float, most: int) -> None:
        self._socket.settimeout(_left(end))
        self._http.receive_data(self._socket.recv(most))

    def begin(self, kind: str) -> None:
        """See `HttpStream`. However long the parts are, h11 frames them."""
        self._write(self._http.send(h11.Response(status_code=200, headers=self._headers(kind))))

    def send(self, data: bytes) -> None:
        """See `HttpStream`. A part has as long to be taken as a whole answer."""
        self._write(self._http.send(h11.Data(data=data)))

    def end(self) -> None:
        """See `HttpStream`."""
        self._write(self._http.send(h11.EndOfMessage()))

    def _answer(self, answer: HttpAnswer) -> None:
        length = ("content-length", str(len(answer.body)))
        headers = [*self._headers(answer.kind), length, *answer.headers]
        parts = [self._http.send(h11.Response(status_code=answer.status, headers=headers))]
        if self._verb != "HEAD":
            parts.append(self._http.send(h11.Data(data=answer.body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        self._write(b"".join(part for part in parts if part))

    def _headers(self, kind: str) -> list[tuple[str, str]]:
        headers = [
            ("date", formatdate(usegmt=True)),
            ("content-type", kind),
            ("cache-control", "no-store"),
        ]
        if self._is_last or self._is_unread:
            headers.append(("connection", "close"))
        return headers

    @property
    def _is_unread(self) -> bool:
        """Whether there is more of the request than was read, or what cannot be read."""
        return self._http.their_state in (h11.SEND_BODY, h11.ERROR)

    def _write(self, data: bytes | None) -> None:
        end, view = time.monotonic() + _SEND_SECONDS, memoryview(data or b"")
        while view:
            self._socket.settimeout(_left(end))
            view = view[self._socket.send(view) :]

    def _part(self) -> bool:
        """Says that nothing more comes, and listens a while to who has not heard it yet: closing
        upon what was not read would take the answer from them.
        """
        end = time.monotonic() + _LINGER_SECONDS
        self._socket.shutdown(socket.SHUT_WR)
        while not self._is_last:
            self._socket.settimeout(_left(end))
            if not self._socket.recv(_PIECE_BYTES):
                break
        return False


def _left(end: float) -> float:
    """How many seconds are left. Raises: TimeoutError where none are."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
