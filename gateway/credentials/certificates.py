"""What a client certificate, which the TLS handshake has verified, says of its holder."""

import ssl
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import grpc

from gateway.credentials.binding import thumbprint
from sealgate.reasons import Reason, Refusal
from sealgate.trust.certificate import Validity, certificate_identity, certificate_validity

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
    validity: Validity

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
            raise Refusal(Reason.CREDENTIAL_AMBIGUOUS, "several certificates")
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
        raise Refusal(Reason.CERTIFICATE_MALFORMED, "not PEM") from error
    return ClientCertificate(certificate_identity(der), text, certificate_validity(der))
