"""Expiry of certificates: of those that listeners serve, and between gateway and engines."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates

from gateway.config.document import EngineSettings, GatewayConfig
from gateway.transport import ServerTls
from sealgate.files import read_regular_file, stamps
from sealgate.settings import ConfigError


class Certificates:
    """Those of the listeners, as they are served, and those between the gateway and engines."""

    def __init__(self, tls: ServerTls | None, config: GatewayConfig) -> None:
        """Raises: ConfigError where an engine's cannot be read."""
        self._tls = tls
        ways = {engine.name: engine for engine in config.all_engines}
        if config.generator.address:
            # In brackets, which no engine's name has.
            ways["[generator]"] = config.generator
        self._engines = {
            f"{name}: {kind}": _File(path)
            for name, way in ways.items()
            for kind, path in _files(way).items()
        }

    def expiries(self) -> Mapping[str, datetime]:
        """The end of each, of a chain the first of its ends, by where it is configured."""
        served = self._tls.served.expiries if self._tls is not None else {}
        return {**served, **{name: file.end() for name, file in self._engines.items()}}

    def renewed(self) -> Mapping[str, int]:
        """How often other files were found, and taken or refused."""
        return dict(self._tls.renewed) if self._tls is not None else {}


class _File:
    """A file that whoever goes by it follows, as `inference.backends.remote.endpoint` does: what
    cannot be read changes nothing.
    """

    def __init__(self, path: Path) -> None:
        """Raises: ConfigError where it cannot be read."""
        self._path = path
        self._stamps = stamps([path])
        self._end = _expiry(path)

    def end(self) -> datetime:
        """When the first of its certificates expires. Callers may race: each reads the same."""
        found = stamps([self._path])
        if found != self._stamps:
            try:
                self._end = _expiry(self._path)
            except ConfigError:
                # The way to the engine says so in the log.
                return self._end
            self._stamps = found
        return self._end


def _files(way: EngineSettings) -> dict[str, Path]:
    named = {"certificate": way.certificate, "client_certificate": way.client_certificate}
    return {kind: path for kind, path in named.items() if path is not None}


def _expiry(path: Path) -> datetime:
    try:
        chain = load_pem_x509_certificates(read_regular_file(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM") from error
    return min(certificate.not_valid_after_utc for certificate in chain)
