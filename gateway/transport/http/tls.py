"""TLS for HTTP, with what the gRPC listeners serve: read again when its files change."""

import logging
import os
import ssl
import threading

from gateway.transport.tls import ServedCertificate, ServerTls
from sealgate.settings import ConfigError

_log = logging.getLogger(__name__)


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
