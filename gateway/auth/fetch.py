"""Fetching a small JSON document of an issuer: https only, no redirects, bounded in size and time.

The address comes from the gateway's configuration, or from the discovery document of an issuer
that stands there; never from a token or a caller. The environment's proxies are not used.
"""

import http.client
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult

from gateway.auth.key_sets import KeySet
from gateway.config.addresses import check_address
from sealgate.http_exchange import HttpExchange
from sealgate.reasons import Reason, SealgateError

_LARGEST_BYTES = 256 * 1024
_SECONDS = 5.0
_OK = 200


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches documents. `authority` (PEM) is trusted instead of the system's authorities."""

    authority: Path | None = None
    insecure_loopback: bool = False
    largest_bytes: int = _LARGEST_BYTES
    seconds: float = _SECONDS

    def get(self, url: str) -> bytes:
        """The document at `url`.

        Raises: KEY_SET_UNREACHABLE where the server is down, slow or answers with anything but
        200; KEY_SET_REFUSED for another address than https, or a document that is too large.
        """
        parts = check_address(url, insecure_loopback=self.insecure_loopback)
        exchange = HttpExchange(
            parts,
            self._context(parts),
            "GET",
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            self.largest_bytes,
            self.seconds,
            {"accept": "application/json", "accept-encoding": "identity"},
        )
        try:
            status, document = exchange.run()
        except (OSError, http.client.HTTPException, ValueError) as error:
            detail = f"{url}: {type(error).__name__}"
            raise SealgateError(Reason.KEY_SET_UNREACHABLE, detail) from error
        if status != _OK:
            raise SealgateError(Reason.KEY_SET_UNREACHABLE, f"{parts.netloc} answers {status}")
        if len(document) > self.largest_bytes:
            raise SealgateError(Reason.KEY_SET_REFUSED, f"{parts.netloc} sends too much")
        return document

    def _context(self, parts: SplitResult) -> ssl.SSLContext | None:
        if parts.scheme == "http":
            return None
        try:
            return ssl.create_default_context(cafile=self.authority)
        except OSError as error:
            raise SealgateError(Reason.KEY_SET_UNREACHABLE, f"{self.authority}: {error}") from error


_WELL_KNOWN = "/.well-known/openid-configuration"

Fetch = Callable[[], KeySet]


def from_url(fetcher: Fetcher, url: str) -> Fetch:
    """Fetches the key set at `url`."""
    return lambda: KeySet.parse(fetcher.get(url), strict=False)


def by_discovery(fetcher: Fetcher, issuer: str) -> Fetch:
    """Fetches the key set that the issuer's own configuration names, which must be the issuer's.

    What is fetched raises SealgateError(KEY_SET_REFUSED) for the configuration of another issuer.
    """

    def fetch() -> KeySet:
        try:
            found = json.loads(fetcher.get(issuer.rstrip("/") + _WELL_KNOWN))
            named, address = found["issuer"], found["jwks_uri"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SealgateError(Reason.KEY_SET_REFUSED, "no issuer's configuration") from error
        if named != issuer or not isinstance(address, str):
            raise SealgateError(Reason.KEY_SET_REFUSED, "the configuration of another issuer")
        return KeySet.parse(fetcher.get(address), strict=False)

    return fetch
