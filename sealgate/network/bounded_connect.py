"""Connects to a name in a bounded time: look-up, addresses and TLS share one deadline.

The system's resolver has no time limit that a caller could set, and a name may have any number of
addresses at which nobody answers.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from http.client import HTTPConnection
from typing import Any, TypeAlias

Resolve: TypeAlias = Callable[..., Sequence[Any]]

# An address at which nobody answers takes its share of the time, so that the next has some.
_LEAST_SECONDS = 1.0
_MOST_LOOK_UPS = 32
_mutex = threading.Lock()
_looking: dict[tuple[Resolve, str, int | None], "Future[Sequence[Any]]"] = {}


def look_up(
    host: str, port: int | None, end: float, resolve: Resolve | None = None
) -> Sequence[Any]:
    """The result of `resolve` (default: `socket.getaddrinfo`), by `end` (of `time.monotonic`).

    A look-up that is late goes on in its thread. Calls for the same name meanwhile wait for that
    one, and there are 32 at most, so a silent name server holds few threads.

    Raises OSError, of which TimeoutError is one, and what `resolve` raises.
    """
    key = (resolve or socket.getaddrinfo, host, port)
    with _mutex:
        found = _looking.get(key)
        if found is None:
            if len(_looking) >= _MOST_LOOK_UPS:
                raise OSError("too many names are looked up at once")
            found = Future()
            thread = threading.Thread(target=_settle, args=(key, found), name="dns", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(str(error)) from error
            _looking[key] = found
    try:
        return found.result(max(0.0, end - time.monotonic()))
    except TimeoutError as error:
        raise TimeoutError(str(error) or "the name is not looked up in time") from None


def _settle(key: tuple[Resolve, str, int | None], found: "Future[Sequence[Any]]") -> None:
    resolve, host, port = key
    try:
        result = resolve(host, port, type=socket.SOCK_STREAM)
    except BaseException as error:
        found.set_exception(error)
    else:
        found.set_result(result)
    finally:
        with _mutex:
            # The thread that began this may still have to enter it.
            _looking.pop(key, None)


def connect(
    host: str, port: int | None, end: float, addresses: Sequence[str] = ()
) -> socket.socket:
    """A connection to the first address of `host` that answers, by `end`; with `addresses`, to one
    of these instead. Its timeout is what is left then. Raises OSError, ValueError.
    """
    if not addresses:
        found = look_up(host, port, end)
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    for left in range(len(addresses), 0, -1):
        wait = end - time.monotonic()
        share = max(min(wait, max(wait / left, _LEAST_SECONDS)), 0.001)
        try:
            connection = socket.create_connection((addresses[-left], port), timeout=share)
        except OSError:
            if left == 1 or time.monotonic() >= end:
                raise
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(max(end - time.monotonic(), 0.001))
            return connection
    raise OSError("the name has no address")


def open_http(
    http: HTTPConnection,
    context: ssl.SSLContext | None,
    end: float,
    addresses: Sequence[str] = (),
) -> socket.socket:
    """Connect `http` by `end`, with TLS where there is a `context`; return its socket.

    Raises as `connect`.
    """
    http.sock = connect(http.host, http.port, end, addresses)
    if context is not None:
        http.sock = context.wrap_socket(http.sock, server_hostname=http.host)
    return http.sock
