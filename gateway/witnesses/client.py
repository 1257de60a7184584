"""Asking a witness for its cosignature (C2SP tlog-witness), over https or on this machine.

Requests are bounded in size and time; redirects are not followed, and the environment's proxies
are not used.
"""

import http.client
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from gateway.transport.http_client import HttpExchange
from sealgate.reasons import Refusal
from sealgate.settings import ConfigError, is_loopback
from sealgate.trust.transparency.cosignature import WitnessKey
from sealgate.witness.request import PATH

_SECONDS = 5.0
_LARGEST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """`url`: where the witness is; `key`: its verifier key (C2SP, of type 0x04). `authority` (PEM)
    is trusted instead of the system's authorities.

    What contradicts our log is always alarmed; where the witness is `advisory`, the log goes on all
    the same.
    """

    url: str
    key: str
    authority: Path | None = None
    advisory: bool = False

    def __post_init__(self) -> None:
        try:
            WitnessKey.from_vkey(self.key)
        except Refusal as refusal:
            raise ConfigError(f"[witnesses] key = {self.key!r}: {refusal.detail}") from None
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise ConfigError(f"[witnesses] url = {self.url!r} is not an address") from None
        plain = self.url.isascii() and self.url.isprintable() and " " not in self.url
        near = parts.scheme == "http" and is_loopback(f"{host}:{port or 80}")
        extra = parts.username or parts.password or parts.query or parts.fragment
        if not (plain and host and not extra and (near or parts.scheme == "https")):
            raise ConfigError(
                f"[witnesses] url = {self.url!r} is neither https nor on this machine"
            )

    @property
    def witness(self) -> WitnessKey:
        return WitnessKey.from_vkey(self.key)


class WitnessUnreachable(Exception):
    """The witness could not be reached, or did not keep to HTTP."""


def post(
    settings: WitnessSettings, body: bytes, seconds: float = _SECONDS
) -> tuple[HTTPStatus, str]:
    """Send an `add-checkpoint`; return the status and the text of the answer.

    Raises WitnessUnreachable.
    """
    parts = urlsplit(settings.url)
    try:
        exchange = HttpExchange(
            parts,
            _context(settings) if parts.scheme == "https" else None,
            "POST",
            f"{parts.path.rstrip('/')}/{PATH}",
            _LARGEST_BYTES,
            seconds,
            {"content-type": "text/plain", "accept-encoding": "identity"},
            body,
        )
        status, text = exchange.run()
        if len(text) > _LARGEST_BYTES:
            raise ValueError("the answer is too large")
        return HTTPStatus(status), text.decode("utf-8")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WitnessUnreachable(f"{parts.netloc}: {type(error).__name__}: {error}") from error


def _context(settings: WitnessSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.authority)
