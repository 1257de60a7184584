"""Asking a witness for its cosignature (C2SP tlog-witness), over https or on this machine.

Requests are bounded in size and time; redirects are not followed, and the environment's proxies
are not used.
"""

import http.client
import ssl
from http import HTTPStatus
from urllib.parse import urlsplit

from gateway.calls.http_client import HttpExchange
from gateway.config.optional_sections import WitnessSettings
from sealgate.witness.service import PATH

_SECONDS = 5.0
_LARGEST_BYTES = 64 * 1024


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
