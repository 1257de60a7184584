"""When the certificates expire that the configuration names."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates

from gateway.config import GatewayConfig
from sealgate.settings import ConfigError


def expiries(config: GatewayConfig) -> Mapping[str, datetime]:
    """The end of each certificate, of a chain the first of its ends, by where it is configured.

    Raises: ConfigError.
    """
    places = {
        "tls": config.tls.certificate,
        "client_authority": config.tls.client_authority,
    }
    for engine in config.all_engines:
        places[f"{engine.name}: certificate"] = engine.certificate
        places[f"{engine.name}: client_certificate"] = engine.client_certificate
    return {place: _expiry(path) for place, path in places.items() if path is not None}


def _expiry(path: Path) -> datetime:
    try:
        chain = load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM") from error
    return min(certificate.not_valid_after_utc for certificate in chain)
