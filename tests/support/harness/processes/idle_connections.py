"""A process that opens connections without a credential, and keeps them open without a word.

Usage: python -m tests.support.harness.processes.idle_connections KIND PORT COUNT [again]

Prints `ready` once all have been opened. With `again`, each that the other end closes is opened
anew, for as long as the process runs.
"""

import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from selectors import EVENT_READ, DefaultSelector

from sealgate.service_process import raise_file_limit

_AT_ONCE = 16
_SECONDS = 5.0
_PAUSE = 0.01
# The preface of HTTP/2, and an empty frame of SETTINGS.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack(">I", 0)[1:] + b"\x04\0\0\0\0\0"
_HALF = b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\ncontent-le"


def tcp(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)


def tls(port: int, protocol: str = "h2") -> socket.socket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(tcp(port))


def preface(port: int) -> socket.socket:
    opened = tls(port)
    opened.sendall(_PREFACE)
    return opened


def plain_http(port: int) -> socket.socket:
    return tls(port, "http/1.1")


def half_request(port: int) -> socket.socket:
    opened = plain_http(port)
    opened.sendall(_HALF)
    return opened


KINDS: dict[str, Callable[[int], socket.socket]] = {
    "tcp": tcp,
    "tls": tls,
    "preface": preface,
    "http-tls": plain_http,
    "half-request": half_request,
}


def hold(kind: str, port: int, count: int, again: bool) -> None:
    """Does not return."""
    raise_file_limit()
    selector = DefaultSelector()

    def opened(_: int) -> None:
        with suppress(OSError):
            connection = KINDS[kind](port)
            connection.setblocking(False)
            selector.register(connection, EVENT_READ, connection)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(opened, range(count)))
        print("ready", flush=True)
        while True:
            closed = sum(_drained(selector, key.data) for key, _ in selector.select(_PAUSE))
            missing = count - len(selector.get_map())
            if again and (closed or missing):
                list(pool.map(opened, range(missing)))
            elif not len(selector.get_map()):
                time.sleep(_PAUSE)


def _drained(selector: DefaultSelector, connection: socket.socket) -> bool:
    """Whether the other end has closed it."""
    try:
        if connection.recv(65536):
            return False
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        pass
    selector.unregister(connection)
    connection.close()
    return True


if __name__ == "__main__":
    hold(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] == ["again"])
