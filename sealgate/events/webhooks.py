"""Signed webhooks: the headers of Standard Webhooks, over HTTP to an address that was checked."""

import base64
import binascii
import hashlib
import hmac
import http.client
import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sealgate.events.cloud_events import CLOUDEVENTS_TYPE, Format
from sealgate.events.config import (
    AddressRefused,
    DestinationSettings,
    EventsConfig,
    Network,
    checked_addresses,
)
from sealgate.events.store import Delivery
from sealgate.network.bounded_connect import Resolve, look_up
from sealgate.network.bounded_http import HttpExchange
from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.keys import read_private_file

_LARGEST_ANSWER = 64 * 1024
_SECRET_PREFIX = "whsec_"  # noqa: S105
_SECRET_BYTES = 32
_LEAST, _MOST = 24, 64
_GONE = 410


class NotDelivered(Exception):
    """An attempt that failed, with what to show of it. `final`: another would fail too."""

    def __init__(self, detail: str, *, final: bool = False) -> None:
        super().__init__(detail)
        self.final = final


def new_secret() -> str:
    """A secret as its file holds it."""
    return _SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def read_secret(path: Path) -> bytes:
    """The key in a secret's file. Raises: ConfigError, without telling the secret."""
    try:
        text = read_private_file(path).decode().strip()
        key = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except SealgateError as refusal:
        raise ConfigError(f"{refusal.reason.name}: {refusal.detail}") from None
    except (UnicodeDecodeError, binascii.Error):
        raise ConfigError(f"{path} is not of the form {_SECRET_PREFIX}BASE64") from None
    if not _LEAST <= len(key) <= _MOST:
        raise ConfigError(f"{path} has {len(key)} bytes; a secret has {_LEAST} to {_MOST}")
    return key


def signatures(keys: Sequence[bytes], id_: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each key."""
    text = f"{id_}.{timestamp}.".encode() + body
    found = (hmac.new(key, text, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(each).decode()}" for each in found)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A destination, ready to be sent to. `resolve` looks up addresses as `socket.getaddrinfo`."""

    settings: DestinationSettings
    url: str
    format: Format
    named: Sequence[Network]
    timeout: float
    clock: Callable[[], float]
    resolve: Resolve

    @classmethod
    def open(
        cls,
        config: EventsConfig,
        settings: DestinationSettings,
        clock: Callable[[], float],
        resolve: Resolve,
    ) -> "Webhook":
        """Read and check what the settings name. Raises: ConfigError."""
        url = settings.url
        if isinstance(url, Path):
            try:
                url = read_private_file(url).decode().strip()
            except (SealgateError, UnicodeDecodeError) as error:
                raise ConfigError(f"[[destinations]] {settings.name!r}: url: {error}") from None
            config.check_url(settings, url)
        for path in settings.secrets:
            read_secret(path)
        made = cls(
            settings,
            url,
            Format.of(settings.format, settings.template),
            config.network.networks(),
            config.delivery.timeout,
            clock,
            resolve,
        )
        made.context()
        return made

    @property
    def name(self) -> str:
        return self.settings.name

    def send(self, delivery: Delivery) -> None:
        """Make one attempt, within `timeout`. Raises NotDelivered, which quotes nothing secret."""
        end = time.monotonic() + self.timeout
        body = self.format.body(delivery.body)
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            addresses = checked_addresses(
                host,
                port,
                self.named,
                loopback=self.settings.loopback,
                resolve=lambda host, port, **_: look_up(host, port, end, self.resolve),
            )
            exchange = HttpExchange(
                parts,
                self.context(),
                "POST",
                (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                _LARGEST_ANSWER,
                max(end - time.monotonic(), 0.0),
                self._headers(delivery.id, body),
                body,
                addresses,
            )
            status, _ = exchange.run()
        except (AddressRefused, ConfigError) as error:
            raise NotDelivered(str(error)) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotDelivered(_reason(error)) from error
        if not 200 <= status < 300:
            redirects = ", a redirect, which is not followed" if 300 <= status < 400 else ""
            raise NotDelivered(f"HTTP {status}{redirects}", final=status == _GONE)

    def context(self) -> ssl.SSLContext | None:
        """The TLS context that verifies the receiver; None for http. Raises: ConfigError."""
        if self.url.startswith("http:"):
            return None
        try:
            return ssl.create_default_context(cafile=self.settings.authority)
        except OSError as error:
            where = f"[[destinations]] {self.name!r}: authority"
            raise ConfigError(f"{where}: {error.strerror or 'not PEM'}") from None

    def _headers(self, id_: str, body: bytes) -> dict[str, str]:
        cloudevents = self.settings.format == "cloudevents"
        headers = {
            "content-type": CLOUDEVENTS_TYPE if cloudevents else "application/json",
            "accept-encoding": "identity",
            "user-agent": "sealgate-events",
        }
        keys = [read_secret(path) for path in self.settings.secrets]
        if keys:
            now = int(self.clock())
            headers |= {
                "webhook-id": id_,
                "webhook-timestamp": str(now),
                "webhook-signature": signatures(keys, id_, now, body),
            }
        return headers


def _reason(error: Exception) -> str:
    """The cause of an error, without the other side's words, which HTTP exceptions quote."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not verify: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "it took too long"
    return type(error).__name__
