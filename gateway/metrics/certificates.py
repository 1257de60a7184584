"""When the certificates expire that are in use."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates

from gateway.engine_settings import EngineSettings
from gateway.server_tls import ServerTls
from sealgate.settings import ConfigError


class Certificates:
    """Those of the listeners, as they are served, and those of engines, as the gateway started with
    them.
    """

    def __init__(self, tls: ServerTls | None, engines: Sequence[EngineSettings]) -> None:
        """Raises: ConfigError where an engine's cannot be read."""
        self._tls = tls
        self._engines = {
            f"{engine.name}: {kind}": _expiry(path)
            for engine in engines
            for kind, path in (
                ("certificate", engine.certificate),
                ("client_certificate", engine.client_certificate),
            )
            if path is not None
        }

    def expiries(self) -> Mapping[str, datetime]:
        """The end of each, of a chain the first of its ends, by where it is configured."""
        served = self._tls.served.expiries if self._tls is not None else {}
        return {**served, **self._engines}

    def renewed(self) -> Mapping[str, int]:
        """How often other files were found, and taken or refused."""
        return dict(self._tls.renewed) if self._tls is not None else {}


def _expiry(path: Path) -> datetime:
    try:
        chain = load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM") from error
    return min(certificate.not_valid_after_utc for certificate in chain)
