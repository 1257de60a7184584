"""Tokens that are bound to the certificate of whoever may use them (RFC 8705, section 3)."""

import base64
import hashlib
import hmac
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealgate.reasons import Reason, Refusal

_METHOD = "x5t#S256"


def thumbprint(pem: str) -> str:
    """The certificate's SHA-256 as `x5t#S256` spells it: base64url, without padding."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The thumbprint of the certificate to which a token is bound."""

    thumbprint: str

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> "Confirmation | None":
        """The token's `cnf` claim, if it has one.

        Raises: TOKEN_BINDING where it binds the token in a way that cannot be checked here: such
        a token is no bearer token.
        """
        if "cnf" not in claims:
            return None
        confirmation = claims["cnf"]
        if not isinstance(confirmation, dict) or set(confirmation) != {_METHOD}:
            raise Refusal(Reason.TOKEN_BINDING, "bound by another method")
        value = confirmation[_METHOD]
        if not isinstance(value, str) or not value.isascii():
            raise Refusal(Reason.TOKEN_BINDING, "not a thumbprint")
        return cls(value)

    def check(self, shown: str | None) -> None:
        """Raises: TOKEN_BINDING without a certificate, or with another one."""
        if shown is None or not hmac.compare_digest(self.thumbprint, shown):
            raise Refusal(Reason.TOKEN_BINDING)
