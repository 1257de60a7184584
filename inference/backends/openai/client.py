"""Client of an OpenAI-compatible server: one streamed chat at a time.

It uses https, or http on this machine only. It follows no redirects and ignores proxies from the
environment. Every read is bounded in size and time.
"""

import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult

from inference.backends.remote.messages import OnEnd
from sealgate.network.bounded_connect import open_http
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_LONGEST_LINE = 1 << 20
# Lines in a row that say nothing. To read them without end would keep other threads from theirs.
_MOST_SILENT = 10_000
_PATH = "/chat/completions"
_DONE = "[DONE]"
_OK = 200
# It has too much to do, or says when to come again.
_BUSY = (429, 503)


@dataclass(frozen=True, slots=True)
class OpenAiServer:
    """Where the server is: `base` is its base URL, such as https://models.example/v1.

    `key`, if there is one, is sent as bearer token; `context` holds the trusted certificates.
    """

    base: SplitResult
    key: str = field(repr=False)
    context: ssl.SSLContext | None

    def chat(self, document: Mapping[str, Any], deadline: float, on_end: OnEnd) -> Generator[Any]:
        """The events of a streamed chat. `on_end` receives a function that ends the chat from
        another thread; `deadline` is in seconds of `time.monotonic`.

        Raises: ENGINE_UNAVAILABLE if the server is unreachable, refuses, breaks off or reports an
        error; QUEUE_FULL if it says that it is overloaded; DEADLINE_TOO_SHORT.
        """
        connection, ended = self._connection(), False

        def end() -> None:
            nonlocal ended
            ended = True
            with suppress(OSError):
                # As a plain one: a TLS socket would forget its state while it is read.
                socket.socket.shutdown(plain, socket.SHUT_RDWR)

        try:
            # A connection lets go of its socket once it has the head of a last answer.
            plain = self._connected(connection, deadline)
            on_end(end)
            with _ended_at(deadline, end):
                yield from self._events(connection, plain, document, deadline)
            if ended:
                raise SealgateError(Reason.DEADLINE_TOO_SHORT, "in the middle")
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            if ended or time.monotonic() >= deadline:
                raise SealgateError(Reason.DEADLINE_TOO_SHORT, "in the middle") from error
            _log.warning("%s: %s", self.base.netloc, error)
            raise SealgateError(Reason.ENGINE_UNAVAILABLE, type(error).__name__) from error
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        host, port = self.base.hostname or "", self.base.port
        if self.context is None:
            return HTTPConnection(host, port)
        return HTTPSConnection(host, port, context=self.context)

    def _connected(self, connection: HTTPConnection, deadline: float) -> socket.socket:
        now = time.monotonic()
        if now >= deadline:
            raise SealgateError(Reason.DEADLINE_TOO_SHORT, "before its run")
        return open_http(connection, self.context, min(deadline, now + _CONNECT_SECONDS))

    def _events(
        self,
        connection: HTTPConnection,
        plain: socket.socket,
        document: Mapping[str, Any],
        deadline: float,
    ) -> Generator[Any]:
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        _patience(plain, deadline)
        connection.request("POST", self.base.path + _PATH, json.dumps(document), headers)
        response = connection.getresponse()
        if response.status != _OK:
            reason = Reason.QUEUE_FULL if response.status in _BUSY else Reason.ENGINE_UNAVAILABLE
            _log.warning("%s answers with status %s", self.base.netloc, response.status)
            raise SealgateError(reason, f"status {response.status}")
        silent = 0
        while (line := _line(response, plain, deadline)) is not None:
            # Of server-sent events, comments and names of fields say nothing here.
            silent += 1
            if silent > _MOST_SILENT:
                raise ValueError("lines without end that say nothing")
            if line.startswith("data:"):
                silent = 0
                data = line.removeprefix("data:").strip()
                if data == _DONE:
                    return
                yield _event(data)


@contextmanager
def _ended_at(deadline: float, end: Callable[[], None]) -> Iterator[None]:
    """A socket's own patience begins anew with each byte, and a server may drip."""
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _line(response: HTTPResponse, plain: socket.socket, deadline: float) -> str | None:
    """The next one, None after the last. Raises: OSError, ValueError."""
    _patience(plain, deadline)
    line = response.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise ValueError("an event without end")
    return line.decode() if line else None


def _patience(plain: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    plain.settimeout(left)


def _event(data: str) -> Any:
    """Raises: ValueError; ENGINE_UNAVAILABLE for an error that the server tells."""
    event = json.loads(data)
    if not isinstance(event, dict):
        raise ValueError("an event that is no object")
    if event.get("error"):
        raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the server reports an error")
    return event
