"""What a client certificate, which the TLS handshake has verified, says of its holder."""

import base64
import hashlib
import hmac
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import grpc

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys.certificate_identity import (
    CertificateValidity,
    certificate_identity,
    certificate_validity,
)

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
            raise SealgateError(Reason.TOKEN_BINDING, "bound by another method")
        value = confirmation[_METHOD]
        if not isinstance(value, str) or not value.isascii():
            raise SealgateError(Reason.TOKEN_BINDING, "not a thumbprint")
        return cls(value)

    def check(self, shown: str | None) -> None:
        """Raises: TOKEN_BINDING without a certificate, or with another one."""
        if shown is None or not hmac.compare_digest(self.thumbprint, shown):
            raise SealgateError(Reason.TOKEN_BINDING)


# The one property of gRPC's that is looked at: it ends its texts of names at a NUL byte.
PEM_PROPERTY = "x509_pem_cert"
_KEPT = 256


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The identity that a certificate proves, if it names any, its text (PEM), and when it holds.

    The handshake has verified the certificate, and a connection may outlast it.
    """

    identity: str | None
    pem: str
    validity: CertificateValidity

    @classmethod
    def of(cls, context: grpc.ServicerContext, now: datetime) -> "ClientCertificate | None":
        """The certificate of a call, if it came with one. It must be valid at `now`.

        One with a SPIFFE ID is known by that alone: its holder may have chosen the rest. Raises:
        CREDENTIAL_AMBIGUOUS, CERTIFICATE_MALFORMED (`certificate_identity`), CERTIFICATE_EXPIRED.
        """
        properties: Any = context.auth_context()
        shown = properties.get(PEM_PROPERTY)
        if not shown:
            return None
        if len(shown) > 1:
            raise SealgateError(Reason.CREDENTIAL_AMBIGUOUS, "several certificates")
        certificate = _read(bytes(shown[0]))
        certificate.validity.check(now)
        return certificate

    def thumbprint(self) -> str:
        """See `binding.thumbprint`."""
        return thumbprint(self.pem)


@lru_cache(_KEPT)
def _read(pem: bytes) -> ClientCertificate:
    """Raises like `certificate_identity`; what was refused is read again each time."""
    try:
        text = pem.decode("ascii")
        der = ssl.PEM_cert_to_DER_cert(text)
    except ValueError as error:
        raise SealgateError(Reason.CERTIFICATE_MALFORMED, "not PEM") from error
    return ClientCertificate(certificate_identity(der), text, certificate_validity(der))
