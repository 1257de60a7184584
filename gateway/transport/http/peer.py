"""The other end of an HTTP connection: who it is, as gRPC says it, and TLS with it.

So one authenticator looks at callers by either protocol. TLS has what the gRPC listeners serve,
read again when its files change.
"""

import logging
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TypeAlias

from gateway.auth import PEM_PROPERTY
from gateway.transport.tls import ServedCertificate, ServerTls
from inference.observability.tracing import TRACEPARENT
from sealgate.settings import ConfigError

Properties: TypeAlias = Mapping[str, Sequence[bytes]]

# The other end has closed, or never was.
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR
_log = logging.getLogger(__name__)


class Peer:
    """One connection's other end; `der` is the certificate that the handshake has verified."""

    def __init__(self, connection: socket.socket, der: bytes | None) -> None:
        self._connection = connection
        self._der = der
        self.name = _name(connection)
        # Whether a call has authenticated on this connection.
        self.is_known = False
        # One poll object serves one thread at a time; another would raise there.
        self._mutex = threading.Lock()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLRDHUP)

    @cached_property
    def properties(self) -> Properties:
        """The fields of gRPC's `auth_context` for a certificate, as far as they are read."""
        if self._der is None:
            return {}
        return {PEM_PROPERTY: [ssl.DER_cert_to_PEM_cert(self._der).encode()]}

    def is_there(self) -> bool:
        with self._mutex:
            return not any(event & _GONE for _, event in self._poll.poll(0))

    def cut(self) -> None:
        """Ends the connection, from any thread."""
        with suppress(OSError):
            # As a plain one: a TLS socket would forget its state while another thread reads.
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)


class HttpContext:
    """The part of gRPC's context that a call needs: the credentials, whether the caller is still
    there.

    Of the headers, those named `authorization` alone are credentials, and `traceparent` says whose
    span the call's own belongs below; no other is looked at.
    """

    __slots__ = ("_callbacks", "_has_left", "_metadata", "_mutex", "_peer")

    def __init__(
        self, peer: Peer, authorization: Sequence[str], traceparents: Sequence[str] = ()
    ) -> None:
        self._peer = peer
        self._mutex = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._has_left = False
        self._metadata = [
            *(("authorization", value) for value in authorization),
            *((TRACEPARENT, value) for value in traceparents),
        ]

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return self._metadata

    def auth_context(self) -> Properties:
        return self._peer.properties

    def peer(self) -> str:
        return self._peer.name

    def time_remaining(self) -> None:
        """There is no deadline but the request's own parameter `timeout`."""

    def note_caller(self) -> None:
        """Says that this call has authenticated."""
        self._peer.is_known = True

    def is_active(self) -> bool:
        return self._peer.is_there()

    def cancel(self) -> None:
        self._peer.cut()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have it called once the caller has gone (`gateway.transport.http.gateway`); False where
        they have already.
        """
        with self._mutex:
            if not self._has_left:
                self._callbacks.append(callback)
            return not self._has_left

    def leave(self) -> None:
        """Says that the caller has gone."""
        with self._mutex:
            self._has_left = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


def _name(connection: socket.socket) -> str:
    """The other end, as gRPC names it; empty where it has gone already."""
    try:
        host, port = connection.getpeername()[:2]
    except (OSError, ValueError):
        return ""
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"


class HttpTls:
    """The context of the next handshake. Safe for threads."""

    def __init__(self, tls: ServerTls) -> None:
        """Raises: ConfigError for certificates that OpenSSL does not take."""
        self._tls = tls
        self._mutex = threading.Lock()
        self._given = tls.served
        self._context = tls_context(self._given)

    @property
    def context(self) -> ssl.SSLContext:
        served = self._tls.served
        with self._mutex:
            if served is not self._given:
                try:
                    self._context = tls_context(served)
                except ConfigError as error:
                    _log.error("the certificates that HTTP is served with stay: %s", error)
                # Not where there was no file descriptor for it: the next handshake tries again.
                self._given = served
            return self._context


def tls_context(served: ServedCertificate) -> ssl.SSLContext:
    """TLS 1.2 and 1.3. Callers are asked for a certificate where there is an authority for them;
    one that it has not signed ends the handshake, none does not.

    Raises: ConfigError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A session that a ticket resumes has a certificate that nobody has looked at again.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    try:
        _load_pair(context, served)
        if served.client_authority is not None:
            context.load_verify_locations(cadata=served.client_authority.decode("ascii", "replace"))
            context.verify_mode = ssl.CERT_OPTIONAL
    except ssl.SSLError as error:
        raise ConfigError(f"[tls] cannot be used for [http]: {error.reason}") from error
    return context


def _load_pair(context: ssl.SSLContext, served: ServedCertificate) -> None:
    """OpenSSL's wrapper reads files alone, and this file is memory that nobody else can open: the
    bytes that were checked are those that are served.
    """
    file = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(file, "wb", closefd=False) as writing:
            writing.write(served.key + b"\n" + served.certificate)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
