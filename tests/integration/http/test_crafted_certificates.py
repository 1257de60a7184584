"""Certificates with hostile names, in real handshakes with both listeners: nobody is let in.

The authority that signs them is one that the gateway trusts, as a careless or deceived one would
be; the policy names `mtls:admin`.
"""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import Access, reason_of
from sealgate.setup.credentials import Certificate
from tests.support.builders.documents.crafted_certificates import (
    BMP,
    DNS_NAME,
    EMAIL_NAME,
    IA5,
    PRINTABLE,
    TELETEX,
    URI_NAME,
    CraftingAuthority,
    common_name,
    one_part,
    subject,
)
from tests.support.harness.clients.http_client import HttpClient, harness_with_http
from tests.support.harness.gateway import GatewayHarness

CRAFTING = CraftingAuthority(datetime.now(UTC))
ADMIN = subject(common_name(b"admin"))
UNKNOWN, MALFORMED = Reason.PRINCIPAL_UNKNOWN, Reason.CERTIFICATE_MALFORMED
AMBIGUOUS, MISSING = Reason.CREDENTIAL_AMBIGUOUS, Reason.CREDENTIAL_MISSING
HANDSHAKE = "handshake"
CASES = {
    "plain": (CRAFTING.caller(ADMIN), None),
    "nul": (CRAFTING.caller(subject(common_name(b"admin\0evil"))), MALFORMED),
    "nul-last": (CRAFTING.caller(subject(common_name(b"admin\0"))), MALFORMED),
    "nul-printable": (CRAFTING.caller(subject(common_name(b"admin\0x", PRINTABLE))), MALFORMED),
    "two-names": (CRAFTING.caller(subject(common_name(b"x"), common_name(b"admin"))), AMBIGUOUS),
    "admin-first": (CRAFTING.caller(subject(common_name(b"admin"), common_name(b"x"))), AMBIGUOUS),
    "same-twice": (
        CRAFTING.caller(subject(common_name(b"admin"), common_name(b"admin", PRINTABLE))),
        AMBIGUOUS,
    ),
    "one-part": (CRAFTING.caller(one_part(common_name(b"admin"), common_name(b"x"))), AMBIGUOUS),
    "bmp": (CRAFTING.caller(subject(common_name("admin".encode("utf-16-be"), BMP))), MALFORMED),
    "teletex": (CRAFTING.caller(subject(common_name(b"admin", TELETEX))), MALFORMED),
    "ia5": (CRAFTING.caller(subject(common_name(b"admin", IA5))), MALFORMED),
    "right-to-left": (CRAFTING.caller(subject(common_name("admin\u200f".encode()))), MALFORMED),
    "capital": (CRAFTING.caller(subject(common_name(b"Admin"))), UNKNOWN),
    "look-alike": (CRAFTING.caller(subject(common_name("\u0430dmin".encode()))), UNKNOWN),
    "full-width": (CRAFTING.caller(subject(common_name("\uff41dmin".encode()))), UNKNOWN),
    "long": (CRAFTING.caller(subject(common_name(b"admin" + b"x" * 400))), MALFORMED),
    "empty": (CRAFTING.caller(subject(common_name(b""))), MALFORMED),
    "e-mail": (CRAFTING.caller(subject(), (EMAIL_NAME, b"admin")), MISSING),
    "dns": (CRAFTING.caller(subject(), (DNS_NAME, b"admin")), MISSING),
    "dns-nul": (CRAFTING.caller(ADMIN, (DNS_NAME, b"a\0b")), MALFORMED),
    "uri-nul": (CRAFTING.caller(ADMIN, (URI_NAME, b"https://a/\0b")), MALFORMED),
    "workload": (CRAFTING.caller(ADMIN, (URI_NAME, b"spiffe://example.org/x")), UNKNOWN),
    "workload-capital": (CRAFTING.caller(ADMIN, (URI_NAME, b"SPIFFE://example.org/x")), MALFORMED),
    "workload-nul": (CRAFTING.caller(ADMIN, (URI_NAME, b"spiffe://example.org/x\0")), MALFORMED),
    "workload-and-uri": (
        CRAFTING.caller(ADMIN, (URI_NAME, b"spiffe://example.org/x"), (URI_NAME, b"https://a")),
        AMBIGUOUS,
    ),
    "names-twice": (CRAFTING.with_names_twice(ADMIN, b"https://example.org"), MALFORMED),
}
# OpenSSL or BoringSSL end the handshake themselves, as here, or pass it on: both keep it out.
EITHER = {name for name, (_, reason) in CASES.items() if reason is MALFORMED}


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    harness = harness_with_http(tmp_path_factory.mktemp("crafted") / "state")
    callers = harness.state / "tls" / "callers.pem"
    callers.write_bytes(callers.read_bytes() + CRAFTING.pem)
    harness.start()
    yield harness
    harness.stop()


def by_grpc(harness: GatewayHarness, shown: Certificate) -> Reason | str | None:
    profile = harness.profile("admin")
    access = Access(
        profile.endpoint,
        profile.server_authority.read_bytes(),
        certificate=shown.certificate,
        certificate_key=shown.key,
    )
    with grpc.secure_channel(access.endpoint, access.credentials()) as channel:
        stub = GRPCInferenceServiceStub(channel)
        try:
            stub.ServerMetadata(oip.ServerMetadataRequest(), timeout=60)
        except grpc.RpcError as error:
            return reason_of(error) or HANDSHAKE
    return None


def by_http(harness: GatewayHarness, shown: Certificate, folder: Path) -> Reason | str | None:
    pair = (folder / "caller.pem", folder / "caller.key")
    for path, content in zip(pair, (shown.certificate, shown.key), strict=True):
        path.write_bytes(content)
    client = HttpClient(harness, pair=pair)
    try:
        return client.get("/v2").reason
    except (ssl.SSLError, ConnectionError):
        return HANDSHAKE
    finally:
        client.close()


@pytest.mark.parametrize("name", CASES)
def test_both_listeners_read_a_certificate_alike(
    harness: GatewayHarness, tmp_path: Path, name: str
) -> None:
    shown, reason = CASES[name]
    expected = {reason, HANDSHAKE} if name in EITHER else {reason}
    assert by_grpc(harness, shown) in expected
    assert by_http(harness, shown, tmp_path) in expected
