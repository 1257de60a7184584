"""What a client asks a federation's server for, beside Flower's requests.

It speaks TLS 1.3 and trusts the invitation's authority alone.
"""

import http.client
import json
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

from sealgate.http_exchange import HttpExchange
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from training.federated.enrolment import FederationInvitation
from training.federated.entry import FederationState

_SECONDS, _LARGEST = 10.0, 1 << 16
_TRIES, _PAUSE = 3, 1.0


class FederationServer:
    """The server that an invitation names, as far as it is not Flower's."""

    def __init__(self, invitation: FederationInvitation) -> None:
        """Raises SealgateError(DOCUMENT_MALFORMED) for an authority that cannot be read."""
        self._parts = urlsplit(f"https://{invitation.server}")
        try:
            self._context = ssl.create_default_context(cadata=invitation.authority)
        except (ssl.SSLError, ValueError) as error:
            raise fields.malformed("the authority is no certificate") from error
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3

    def enrol(self, body: bytes) -> int:
        """The client's place. Raises SealgateError: FEDERATION_LOST, or as the server refuses."""
        for left in range(_TRIES, 0, -1):
            try:
                told = self._ask("POST", "/enrol", body)
                break
            except SealgateError as refusal:
                # The same key may ask again.
                if refusal.reason is not Reason.FEDERATION_LOST or left == 1:
                    raise
                time.sleep(_PAUSE)
        return fields.integer(fields.record(told, ("place",))["place"])

    def state(self, place: int) -> FederationState:
        """Raises SealgateError(FEDERATION_LOST)."""
        return FederationState.decode(self._ask("GET", f"/status/{place}"))

    def _ask(self, method: str, target: str, body: bytes | None = None) -> Any:
        asked = HttpExchange(
            self._parts, self._context, method, target, _LARGEST, _SECONDS, body=body
        )
        try:
            status, data = asked.run()
            told = json.loads(data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            detail = f"{self._parts.netloc}: {type(error).__name__}: {error}"
            raise SealgateError(Reason.FEDERATION_LOST, detail) from error
        if status != 200:
            reason = fields.text(fields.record(told, ("reason",))["reason"])
            raise SealgateError(Reason.named(reason), f"said {self._parts.netloc}")
        return told
