"""What a client certificate, which the TLS handshake has verified, says of its holder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from gateway.credentials.binding import thumbprint
from sealgate.reasons import Reason, Refusal

_SPIFFE = "spiffe://"


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The identity that a certificate proves, if it names any, and its text (PEM)."""

    identity: str | None
    pem: str

    @classmethod
    def of(cls, context: grpc.ServicerContext) -> "ClientCertificate | None":
        """The certificate of a call, if it came with one.

        One with a SPIFFE ID is known by that alone: its holder may have chosen the rest. Raises:
        CREDENTIAL_AMBIGUOUS for a SPIFFE ID beside another URI (X.509-SVID, section 2), or for
        several common names.
        """
        properties: Any = context.auth_context()
        if not properties.get("x509_pem_cert"):
            return None
        identity = _workload(properties) or _common_name(properties)
        return cls(identity, _text(properties["x509_pem_cert"][0]))

    def thumbprint(self) -> str:
        """See `binding.thumbprint`."""
        return thumbprint(self.pem)


def _workload(properties: Mapping[str, Sequence[bytes]]) -> str | None:
    """`spiffe:<SPIFFE ID>`."""
    uris = [_text(uri) for uri in properties.get("peer_uri", ())]
    if not any(uri.lower().startswith(_SPIFFE) for uri in uris):
        return None
    if len(uris) > 1:
        raise Refusal(Reason.CREDENTIAL_AMBIGUOUS, "a SPIFFE ID beside another URI")
    return f"spiffe:{uris[0]}"


def _common_name(properties: Mapping[str, Sequence[bytes]]) -> str | None:
    """`mtls:<common name>`."""
    names = properties.get("x509_common_name", ())
    if not names:
        return None
    if len(names) > 1:
        raise Refusal(Reason.CREDENTIAL_AMBIGUOUS, "certificate with several common names")
    return f"mtls:{_text(names[0])}"


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")
