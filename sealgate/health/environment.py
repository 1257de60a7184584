"""Checks around the models: gRPC's health service, freshness, policy and certificates."""

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import grpc
from cryptography import x509

from sealgate.client.client import Client
from sealgate.health.findings import CheckState, HealthFinding
from sealgate.remote import Profile
from sealgate.remote.connection import CallDetails
from sealgate.trust.policy import Policy
from sealgate.trust.times import parse_time

_HEALTH = "/grpc.health.v1.Health/Check"
# Of HealthCheckRequest, the tag of `service`, whose names are shorter than 128 bytes; and
# HealthCheckResponse(status=SERVING). Their module comes with servers alone.
_SERVICE = 0x0A
_SERVING = b"\x08\x01"
_HANDSHAKE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class CertificateLimits:
    """`days`: how many a certificate, or the policy, must last yet."""

    now: datetime
    days: int

    def lasts(self, check: str, subject: str, end: datetime) -> HealthFinding:
        left = end - self.now
        state = CheckState.WRONG if left < timedelta(days=self.days) else CheckState.WELL
        days = left / timedelta(days=1)
        numbers = {"end_timestamp_seconds": end.timestamp()}
        return HealthFinding(
            check, subject, state, f"{days:.1f} days left", {check: subject}, numbers
        )


def serving(channel: grpc.Channel, model: str = "") -> HealthFinding:
    """Check gRPC's health service for a model's `production`, or for the gateway as a whole.

    Raises grpc.RpcError.
    """
    service = f"models/{model}".encode() if model else b""
    request = bytes([_SERVICE, len(service)]) + service if model else b""
    ask: Any = channel.unary_unary(_HEALTH)
    answered = ask(request)
    state = CheckState.WELL if answered == _SERVING else CheckState.WRONG
    detail = "SERVING" if answered == _SERVING else "NOT_SERVING"
    return HealthFinding("serving", model or "gateway", state, detail)


def freshness(
    client: Client, model: str, version: int, policy: Policy, now: datetime
) -> HealthFinding:
    """Whether the registry's statement that a version is live is renewed in time.

    The gateway tells until when the version answers, the policy's grace included: an answer within
    the grace says that no newer statement has come. Raises SealgateError.
    """
    properties = client.metadata(model, version).properties
    until = parse_time(properties["covered_until"])
    grace = policy.rules.grace_seconds
    left = (until - now).total_seconds() - grace
    state = CheckState.WELL if left > 0 else CheckState.WRONG
    detail = f"covered for {left:.0f} s" if left > 0 else f"in its grace for {-left:.0f} s"
    numbers = {"end_timestamp_seconds": until.timestamp() - grace}
    labels = {"model": model, "version": str(version)}
    return HealthFinding("freshness", f"{model} {version}", state, detail, labels, numbers)


def certificates(person: Profile, bounds: CertificateLimits) -> Iterator[HealthFinding]:
    """Those of both ends of the connection, of each the leaf. Raises OSError where nobody is there,
    or who is there has none that the profile trusts.
    """
    shown = x509.load_der_x509_certificate(_shown(person))
    yield bounds.lasts("certificate", "gateway", shown.not_valid_after_utc)
    if person.certificate is not None:
        own = x509.load_pem_x509_certificate(person.certificate.read_bytes())
        yield bounds.lasts("certificate", "own", own.not_valid_after_utc)


def _shown(person: Profile) -> bytes:
    """The certificate, DER, that the gateway shows, once it has been verified."""
    context = ssl.create_default_context(cafile=str(person.server_authority))
    # What gRPC speaks; a server may hang up on others.
    context.set_alpn_protocols(["h2"])
    if person.certificate is not None:
        context.load_cert_chain(person.certificate, person.certificate_key)
    host, _, port = person.endpoint.rpartition(":")
    address = host.strip("[]"), int(port)
    with (
        socket.create_connection(address, _HANDSHAKE_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=address[0]) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


class _InTime(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        bounded = client_call_details.timeout or self._seconds
        return continuation(CallDetails.of(client_call_details, timeout=bounded), request)

    intercept_unary_stream = intercept_unary_unary


def in_time(channel: grpc.Channel, seconds: float) -> grpc.Channel:
    """The channel, whose calls to methods with one request take so long at most."""
    return grpc.intercept_channel(channel, _InTime(seconds))
