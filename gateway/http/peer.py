"""Who is at the other end of an HTTP connection, in the words in which gRPC says it.

So that one authenticator looks at the callers of both doors.
"""

import select
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from inference.tracing import TRACEPARENT
from sealgate.reasons import Reason, Refusal

Properties: TypeAlias = Mapping[str, Sequence[bytes]]

# The other end has closed, or never was.
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Peer:
    """One connection's other end; `der` is the certificate that the handshake has verified."""

    def __init__(self, connection: socket.socket, der: bytes | None) -> None:
        self._connection = connection
        self._der = der
        # One poll object serves one thread at a time; another would raise there.
        self._mutex = threading.Lock()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLRDHUP)

    @cached_property
    def properties(self) -> Properties:
        """Raises: CREDENTIAL_AMBIGUOUS for a certificate that cannot be read."""
        return {} if self._der is None else certificate_properties(self._der)

    def is_there(self) -> bool:
        with self._mutex:
            return not any(event & _GONE for _, event in self._poll.poll(0))

    def cut(self) -> None:
        """Ends the connection, from any thread."""
        with suppress(OSError):
            # As a plain one: a TLS socket would forget its state while another thread reads.
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)


class HttpContext:
    """What a call needs of gRPC's context: the credentials, whether the caller is still there.

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

    def time_remaining(self) -> None:
        """There is no deadline but the request's own parameter `timeout`."""

    def is_active(self) -> bool:
        return self._peer.is_there()

    def cancel(self) -> None:
        self._peer.cut()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have it called once the caller has gone (`gateway.http.absence`); False where they have
        already.
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


def certificate_properties(der: bytes) -> Properties:
    """The names and the text (PEM) of a certificate, as gRPC's `auth_context` has them.

    Raises: CREDENTIAL_AMBIGUOUS for one that cannot be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        uris = _uris(certificate)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Refusal(Reason.CREDENTIAL_AMBIGUOUS, f"the certificate: {error}") from error
    texts = [name.value for name in names]
    return {
        "x509_pem_cert": [certificate.public_bytes(Encoding.PEM)],
        "x509_common_name": [text.encode() if isinstance(text, str) else text for text in texts],
        "peer_uri": [uri.encode() for uri in uris],
    }


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)
