"""TLS between a gateway and an engine that pin each other's certificate, without an authority.

Each side trusts exactly the certificates that it was given, so other certificates of the same
authority do not count. A certificate that may sign others is refused: its holder could make more.
A file may hold two certificates while the peer's own is being replaced.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from inference.server.config import EngineTlsFiles
from sealgate.files import Stamps, read_regular_file, stamps
from sealgate.settings import ConfigError

# A peer's own, and the one that is to follow it.
_MOST = 2


def read_pinned(setting: str, paths: Sequence[Path]) -> tuple[x509.Certificate, ...]:
    """The certificates of PEM files, one or two each. Raises: ConfigError naming the `setting`."""
    return tuple(each for path in paths for each in _read(setting, path))


def read_pair(section: str, key: Path | None, certificate: Path | None) -> tuple[bytes, bytes]:
    """A private key and the certificate that it belongs to, PEM. Raises: ConfigError."""
    if key is None or certificate is None:
        raise ConfigError(f"{section} is incomplete")
    try:
        private, shown = read_regular_file(key), read_regular_file(certificate)
    except OSError as error:
        raise ConfigError(f"{section} cannot read {error.filename}: {error.strerror}") from error
    try:
        own = x509.load_pem_x509_certificate(shown).public_key()
        pair = load_pem_private_key(private, password=None).public_key() == own
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{section} {certificate} and {key} cannot be read as PEM") from error
    if not pair:
        raise ConfigError(f"{section} {certificate} and {key} are not a pair")
    return private, shown


def pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """The certificates as PEM, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def name_of(certificate: x509.Certificate) -> str:
    """A host name that the certificate is for. Raises: ConfigError where it has none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return str(names.get_values_for_type(x509.DNSName)[0])
    except (x509.ExtensionNotFound, IndexError):
        raise ConfigError("a pinned server certificate needs a DNS name (subjectAltName)") from None


def _read(setting: str, path: Path) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(read_regular_file(path))
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{setting}: {path} is not a certificate in PEM") from None
    if len(found) > _MOST:
        raise ConfigError(f"{setting}: {path} must hold the certificate to pin, and no chain")
    if any(map(_signs, found)):
        raise ConfigError(
            f"{setting}: {path} has an authority's certificate; pin the peer's own, and no chain, "
            "made with basicConstraints CA:FALSE"
        )
    return found


def _signs(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return bool(constraints.value.ca)


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The engine's key and certificate, PEM, and the pinned certificates of gateways."""

    key: bytes
    certificate: bytes
    pinned: frozenset[x509.Certificate]

    @classmethod
    def read(cls, tls: EngineTlsFiles) -> "ServerCertificate":
        """Raises: ConfigError."""
        key, certificate = read_pair("[tls]", tls.key, tls.certificate)
        pinned = read_pinned("[tls] gateways", tls.gateways)
        return cls(key, certificate, frozenset(pinned))

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        roots = pem(sorted(self.pinned, key=lambda each: each.serial_number))
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], roots)


class CertificateReloader:
    """Supplies the certificates for the next handshake, reloaded when files change. Thread-safe."""

    def __init__(self, tls: EngineTlsFiles) -> None:
        """Raises: ConfigError where the files cannot be used."""
        self._tls = tls
        self._mutex = threading.Lock()
        self._stamps = self._look()
        self._shown = ServerCertificate.read(tls)

    @property
    def shown(self) -> ServerCertificate:
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
                # None lets gRPC keep its configuration; its type stubs do not say so.
                return None
            given = now
            return now.configuration()

        return grpc.dynamic_ssl_server_credentials(
            given.configuration(), fetch, require_client_authentication=True
        )

    def _renew(self) -> None:
        try:
            self._shown = ServerCertificate.read(self._tls)
        except ConfigError as error:
            _log.error("the previous certificates stay in use: %s", error)
            return
        _log.info("certificates reloaded; %d gateways are pinned", len(self._shown.pinned))

    def _look(self) -> Stamps:
        return stamps((self._tls.certificate, self._tls.key, *self._tls.gateways))
