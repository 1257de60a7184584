"""Asking a witness for its cosignature (C2SP tlog-witness), over https or on this machine.

Requests are bounded in size and time; redirects are not followed, and the environment's proxies
are not used.
"""

import http.client
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from sealgate.reasons import Refusal
from sealgate.settings import ConfigError, is_loopback
from sealgate.trust.cosignature import WitnessKey
from sealgate.witnessing.request import PATH

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


class WitnessAway(Exception):
    """The witness could not be reached, or did not keep to HTTP."""


def post(settings: WitnessSettings, body: bytes) -> tuple[HTTPStatus, str]:
    """Send an `add-checkpoint`; return the status and the text of the answer.

    Raises WitnessAway.
    """
    parts = urlsplit(settings.url)
    try:
        connection = _connection(settings)
        try:
            target = f"{parts.path.rstrip('/')}/{PATH}"
            connection.request("POST", target, body, {"content-type": "text/plain"})
            response = connection.getresponse()
            return HTTPStatus(response.status), _read(response)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WitnessAway(f"{parts.netloc}: {type(error).__name__}: {error}") from error


def _connection(settings: WitnessSettings) -> http.client.HTTPConnection:
    parts = urlsplit(settings.url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=_SECONDS)
    context = ssl.create_default_context(cafile=settings.authority)
    return http.client.HTTPSConnection(host, parts.port, timeout=_SECONDS, context=context)


def _read(response: http.client.HTTPResponse) -> str:
    until = time.monotonic() + _SECONDS
    data = b""
    while part := response.read1(_LARGEST_BYTES):
        data += part
        if len(data) > _LARGEST_BYTES or time.monotonic() > until:
            raise ValueError("the answer is too large or too slow")
    return data.decode("utf-8")
