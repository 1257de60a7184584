"""TLS between a gateway and an engine that know each other's certificate, and no authority.

Each takes the very certificates that it was given for the roots that it trusts, so what an
authority signed besides them counts for nothing. A certificate that may sign others is not taken:
its holder could make more.
"""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate.settings import ConfigError


def read_pinned(setting: str, paths: Sequence[Path]) -> tuple[x509.Certificate, ...]:
    """The certificates of PEM files, one each. Raises: ConfigError naming the `setting`."""
    return tuple(_read_one(setting, path) for path in paths)


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


def _read_one(setting: str, path: Path) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{setting}: {path} is not a certificate in PEM") from None
    if len(found) != 1:
        raise ConfigError(f"{setting}: {path} must hold the one certificate to pin, and no chain")
    try:
        signs = found[0].extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        signs = False
    if signs:
        raise ConfigError(
            f"{setting}: {path} is an authority's certificate; pin the peer's own, "
            "made with basicConstraints CA:FALSE"
        )
    return found[0]
