"""Fetching a small JSON document of an issuer: https only, no redirects, bounded in size and time.

The address comes from the gateway's configuration, or from the discovery document of an issuer
that stands there; never from a token or a caller. The environment's proxies are not used.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from sealgate.reasons import Reason, Refusal

_LARGEST_BYTES = 256 * 1024
_SECONDS = 5.0
_AGAIN_SECONDS = 0.1
_OK = 200


def check_address(url: str, *, insecure_loopback: bool = False) -> SplitResult:
    """Return the parts of an address that may be fetched. Raises Refusal(KEY_SET_REFUSED).

    `insecure_loopback` also lets http pass, to this machine alone; it is for tests.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise Refusal(Reason.KEY_SET_REFUSED, "an address is malformed") from error
    plain = url.isascii() and url.isprintable() and " " not in url
    secure = parts.scheme == "https" or (
        insecure_loopback and parts.scheme == "http" and _is_loopback(host)
    )
    if not (secure and plain and host) or parts.username or parts.password or parts.fragment:
        raise Refusal(Reason.KEY_SET_REFUSED, "an address is not a plain https URL")
    return parts


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches documents. `authority` (PEM) is trusted instead of the system's authorities."""

    authority: Path | None = None
    insecure_loopback: bool = False
    largest_bytes: int = _LARGEST_BYTES
    seconds: float = _SECONDS

    def get(self, url: str) -> bytes:
        """The document at `url`.

        Raises: KEY_SET_UNREACHABLE where the server is down, slow or answers with anything but
        200; KEY_SET_REFUSED for another address than https, or a document that is too large.
        """
        parts = check_address(url, insecure_loopback=self.insecure_loopback)
        try:
            connection = self._connection(parts)
        except OSError as error:
            raise Refusal(Reason.KEY_SET_UNREACHABLE, f"{self.authority}: {error}") from error
        # The timeout of a socket bounds each wait; this bounds them all together.
        done = threading.Event()
        sockets: list[socket.socket] = []
        watching = (connection, sockets, done)
        threading.Thread(target=self._watch, args=watching, daemon=True).start()
        try:
            connection.connect()
            # A connection lets go of its socket once it has the head of a last answer.
            sockets.append(connection.sock)
            return self._read(connection, parts)
        except (OSError, http.client.HTTPException, ValueError) as error:
            detail = f"{url}: {type(error).__name__}"
            raise Refusal(Reason.KEY_SET_UNREACHABLE, detail) from error
        finally:
            done.set()
            connection.close()

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=self.seconds)
        context = ssl.create_default_context(cafile=self.authority)
        return http.client.HTTPSConnection(host, parts.port, timeout=self.seconds, context=context)

    def _read(self, connection: http.client.HTTPConnection, parts: SplitResult) -> bytes:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        if response.status != _OK:
            raise Refusal(Reason.KEY_SET_UNREACHABLE, f"{parts.netloc} answers {response.status}")
        document = response.read(self.largest_bytes + 1)
        if len(document) > self.largest_bytes:
            raise Refusal(Reason.KEY_SET_REFUSED, f"{parts.netloc} sends too much")
        if response.length:
            raise Refusal(Reason.KEY_SET_UNREACHABLE, f"{parts.netloc} stopped in the middle")
        return document

    def _watch(
        self,
        connection: http.client.HTTPConnection,
        sockets: list[socket.socket],
        done: threading.Event,
    ) -> None:
        """End a fetch that takes too long, wherever its thread waits."""
        pause = self.seconds
        while not done.wait(pause):
            # There may be no socket yet, or one without TLS.
            pause = _AGAIN_SECONDS
            for sock in sockets or filter(None, [connection.sock]):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
