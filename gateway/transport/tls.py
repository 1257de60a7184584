"""The certificates of the gateway's listeners, read again when their files change.

gRPC asks for them at each handshake; so a new connection gets the new ones, and connections that
stand, with the calls on them, go on. The files must be complete: a certificate, its key, and the
callers' authority, where there is one. Otherwise the current certificate stays, which the log says
once for each state of the files, and a metric counts. Files that are replaced one after another are
not a pair in between, and are when the next caller comes.
"""

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

from gateway.config.sections import TlsFiles
from sealgate.files import Stamps, read_regular_file, stamps
from sealgate.settings import ConfigError

_log = logging.getLogger(__name__)

TAKEN, REFUSED = "taken", "refused"


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """The certificate that is served: PEM, and when each certificate expires, of a chain the first
    of its own.
    """

    key: bytes
    certificate: bytes
    client_authority: bytes | None
    expiries: Mapping[str, datetime]

    @classmethod
    def read(cls, tls: TlsFiles) -> "ServedCertificate":
        """Raises: ConfigError, with the file that cannot be used."""
        certificate, key = _content(tls.certificate), _content(tls.key)
        chain = _chain(tls.certificate, certificate)
        _check_pair(tls, chain[0], key)
        authority, expiries = None, {"tls": _first_end(chain)}
        if tls.client_authority is not None:
            authority = _content(tls.client_authority)
            expiries["client_authority"] = _first_end(_chain(tls.client_authority, authority))
        return cls(key, certificate, authority, expiries)

    def check_unexpired(self, now: datetime) -> None:
        """Raises: ConfigError."""
        for name, end in self.expiries.items():
            if end <= now:
                raise ConfigError(f"[tls] {name} expired at {end:%Y-%m-%d %H:%M} UTC")

    def configuration(self, mutual: bool) -> grpc.ServerCertificateConfiguration:
        roots = self.client_authority if mutual else None
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], roots)


class ServerTls:
    """The current certificate, and how often it was `renewed` (TAKEN, REFUSED). Thread-safe."""

    def __init__(self, tls: TlsFiles) -> None:
        """Raises: ConfigError where the files cannot be used."""
        self._tls = tls
        self._mutex = threading.Lock()
        self.renewed: Counter[str] = Counter({TAKEN: 0, REFUSED: 0})
        self._stamp = self._look()
        self._served = ServedCertificate.read(tls)

    @classmethod
    def of(cls, tls: TlsFiles) -> "ServerTls | None":
        """Raises like `ServerTls`; None where nothing is to be served with TLS."""
        return cls(tls) if tls.certificate is not None else None

    @property
    def served(self) -> ServedCertificate:
        """The certificate for the next handshake."""
        with self._mutex:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._renew()
            return self._served

    def credentials(self, mutual: bool) -> grpc.ServerCredentials:
        """For a listener; `mutual` asks callers for a certificate of the client authority's."""
        given = self.served

        def fetch() -> Any:
            nonlocal given
            now = self.served
            if now is given:
                # gRPC goes on with what it has; its stated types do not know of that.
                return None
            given = now
            return now.configuration(mutual)

        return grpc.dynamic_ssl_server_credentials(
            given.configuration(mutual), fetch, require_client_authentication=mutual
        )

    def _renew(self) -> None:
        try:
            read = ServedCertificate.read(self._tls)
            read.check_unexpired(datetime.now(UTC))
        except ConfigError as error:
            self.renewed[REFUSED] += 1
            _log.error("the certificates that are served stay: %s", error)
            return
        if read == self._served:
            return
        self._served = read
        self.renewed[TAKEN] += 1
        ends = ", ".join(f"{name} until {end:%Y-%m-%d}" for name, end in read.expiries.items())
        _log.info("new certificates are served: %s", ends)

    def _look(self) -> Stamps:
        return stamps((self._tls.certificate, self._tls.key, self._tls.client_authority))


def _content(path: Path | None) -> bytes:
    if path is None:
        raise ConfigError("[tls] is incomplete")
    try:
        return read_regular_file(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def _chain(path: Path | None, pem: bytes) -> list[Certificate]:
    try:
        return load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM") from error


def _first_end(chain: Sequence[Certificate]) -> datetime:
    return min(certificate.not_valid_after_utc for certificate in chain)


def _check_pair(tls: TlsFiles, certificate: Certificate, key: bytes) -> None:
    try:
        private = load_pem_private_key(key, password=None)
        pair = private.public_key() == certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{tls.key} holds no unencrypted private key in PEM") from error
    if not pair:
        raise ConfigError(f"{tls.certificate} and {tls.key} are not a pair")
