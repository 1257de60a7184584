"""An engine's certificate and the gateways' that it lets in, read again when their files change.

gRPC asks for them at each handshake, and the engine's second look at each call goes by them too: a
certificate that is pinned no more is refused on connections that stand. What cannot be used changes
nothing, which the log says once for each state of the files.
"""

import logging
import threading
from dataclasses import dataclass
from typing import Any

import grpc
from cryptography import x509

from inference.remote import pinning
from inference.remote.settings import Tls
from sealgate.file_stamps import Stamps, stamps
from sealgate.settings import ConfigError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """The engine's key and certificate, PEM, and whom it lets in."""

    key: bytes
    certificate: bytes
    pinned: frozenset[x509.Certificate]

    @classmethod
    def read(cls, tls: Tls) -> "Shown":
        """Raises: ConfigError."""
        key, certificate = pinning.read_pair("[tls]", tls.key, tls.certificate)
        pinned = pinning.read_pinned("[tls] gateways", tls.gateways)
        return cls(key, certificate, frozenset(pinned))

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        roots = pinning.pem(sorted(self.pinned, key=lambda each: each.serial_number))
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], roots)


class EngineTls:
    """What the engine's next handshake goes by. Safe for many threads."""

    def __init__(self, tls: Tls) -> None:
        """Raises: ConfigError where the files cannot be used."""
        self._tls = tls
        self._mutex = threading.Lock()
        self._stamps = self._look()
        self._shown = Shown.read(tls)

    @property
    def shown(self) -> Shown:
        with self._mutex:
            found = self._look()
            if found != self._stamps:
                self._stamps = found
                self._renew()
            return self._shown

    @property
    def pinned(self) -> frozenset[x509.Certificate]:
        return self.shown.pinned

    def credentials(self) -> grpc.ServerCredentials:
        """For a listener; callers must show a certificate that is pinned."""
        given = self.shown

        def fetch() -> Any:
            nonlocal given
            now = self.shown
            if now is given:
                # gRPC goes on with what it has; its stated types do not know of that.
                return None
            given = now
            return now.configuration()

        return grpc.dynamic_ssl_server_credentials(
            given.configuration(), fetch, require_client_authentication=True
        )

    def _renew(self) -> None:
        try:
            self._shown = Shown.read(self._tls)
        except ConfigError as error:
            _log.error("the certificates of before stay: %s", error)
            return
        _log.info("new certificates are shown, and %d let in", len(self._shown.pinned))

    def _look(self) -> Stamps:
        return stamps((self._tls.certificate, self._tls.key, *self._tls.gateways))
