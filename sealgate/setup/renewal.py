"""Certificates that an installation keeps with their keys, and their renewal before they end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from sealgate.files import replace_file
from sealgate.reasons import Reason, SealgateError
from sealgate.setup.configuration import CLIENT, CONSOLE, SERVER
from sealgate.setup.credentials import CertificateAuthority
from sealgate.setup.people import CERTIFICATE_LIFETIME, SERVER_LIFETIME
from sealgate.trust.keys import read_private_file

_GATEWAY = "tls/gateway"
# Each end of the connection between gateway and engine pins the other's file, whoever issued it.
_PINNED = (SERVER, CLIENT)
_AUTHORITIES = ("servers", "callers")


@dataclass(frozen=True, slots=True)
class KeptCertificate:
    """A certificate at `path`, issued by `authority`, with its key beside it."""

    what: str
    path: Path
    authority: str
    end: datetime

    def ends_within(self, now: datetime, span: timedelta) -> bool:
        """Whether it ends so soon, or has ended."""
        return self.end - now < span

    def renew(self, authority: CertificateAuthority) -> None:
        """Put a new certificate with the same key in its place. Raises as `reissue`."""
        key = read_private_file(self.path.with_suffix(".key"))
        replace_file(self.path, authority.reissue(self.path.read_bytes(), key))


def kept_certificates(state: Path) -> Iterator[KeptCertificate]:
    """The certificates of an installation whose keys are kept with it, expired or not.

    Raises SealgateError(KEY_UNREADABLE) for a file that is no certificate.
    """
    places = [("the gateway", _GATEWAY, "servers"), ("the console", CONSOLE, "callers")]
    places += [(f"{name.rpartition('/')[2]} (pinned)", name, "") for name in _PINNED]
    people = sorted(path.parent.name for path in state.glob("people/*/tls.key"))
    places += [(name, f"people/{name}/tls", "callers") for name in people]
    for what, name, authority in places:
        path = state / f"{name}.pem"
        if path.exists() and path.with_suffix(".key").exists():
            yield KeptCertificate(what, path, authority, _end(path))


def open_authority(
    state: Path, kind: str, now: datetime, passphrase: Callable[[Path], bytes | None]
) -> CertificateAuthority:
    """The authority of a kind; of pinned certificates, any.

    Raises SealgateError(KEY_UNREADABLE).
    """
    lifetime = CERTIFICATE_LIFETIME if kind == "callers" else SERVER_LIFETIME
    if kind not in _AUTHORITIES:
        return CertificateAuthority("engine", now, lifetime)
    path = state / "authorities" / f"{kind}.key"
    key = read_private_file(path)
    certificate = (state / "tls" / f"{kind}.pem").read_bytes()
    return CertificateAuthority.load(certificate, key, passphrase(path), now, lifetime)


def _end(path: Path) -> datetime:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except ValueError as error:
        raise SealgateError(Reason.KEY_UNREADABLE, f"{path} is no certificate") from error
