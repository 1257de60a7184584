"""Callers named by a client certificate, and tokens bound to one (RFC 8705)."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.auth.certificates import ClientCertificate
from gateway.auth.tokens import Issuer, TokenVerifier
from sealgate.reasons import Reason
from sealgate.setup.credentials import CertificateAuthority
from tests.support.builders.documents.crafted_certificates import (
    CraftingAuthority,
    common_name,
    subject,
)
from tests.support.builders.documents.people import refused
from tests.support.harness.servers.issuer import AUDIENCE, ISSUER, P256, jwk, jwks, token

NOW = datetime.now(UTC).replace(microsecond=0)
# Issued certificates begin five minutes before they are made.
BEGIN, END = NOW - timedelta(minutes=5), NOW + timedelta(days=1)
SECOND = timedelta(seconds=1)
AUTHORITY = CertificateAuthority("callers", NOW, END - NOW)
CRAFTING = CraftingAuthority(NOW)
SPIFFE = "spiffe://example.org/batch"


class Context:
    """A call over TLS, as gRPC tells of it."""

    def __init__(self, **properties):
        self._properties = properties

    def auth_context(self):
        return self._properties


def shown(*uris):
    return of(AUTHORITY.caller("anna", *uris).certificate)


def of(*pems, now=NOW, **properties):
    return ClientCertificate.of(Context(x509_pem_cert=list(pems), **properties), now)


def test_no_certificate():
    assert ClientCertificate.of(Context(), NOW) is None
    assert ClientCertificate.of(Context(transport_security_type=[b"ssl"]), NOW) is None


@pytest.mark.parametrize(
    ("uris", "identity"),
    [
        ((), "mtls:anna"),
        (("https://example.org/anna",), "mtls:anna"),
        ((SPIFFE,), f"spiffe:{SPIFFE}"),
    ],
)
def test_whom_a_certificate_names(uris, identity):
    assert shown(*uris).identity == identity


def test_names_that_grpc_has_read_are_not_looked_at():
    pem = AUTHORITY.caller("anna").certificate
    read = {"x509_common_name": [b"admin"], "peer_uri": [SPIFFE.encode()]}
    assert of(pem, **read).identity == "mtls:anna"
    # gRPC tells of the first common name here, and ends it at the NUL byte.
    odd = CRAFTING.caller(subject(common_name(b"admin\0evil"))).certificate
    with refused(Reason.CERTIFICATE_MALFORMED):
        of(odd, x509_common_name=[b"admin"])


def test_a_certificate_that_names_nobody():
    assert of(CRAFTING.caller(subject()).certificate).identity is None


@pytest.mark.parametrize("uris", [(SPIFFE, SPIFFE + "-2"), (SPIFFE, "https://example.org")])
def test_a_spiffe_id_is_the_only_uri(uris):
    with refused(Reason.CREDENTIAL_AMBIGUOUS):
        shown(*uris)


def test_several_certificates():
    pem = AUTHORITY.caller("anna").certificate
    with refused(Reason.CREDENTIAL_AMBIGUOUS):
        of(pem, pem)


def test_a_certificate_is_held_against_the_clock_at_each_call():
    pem = AUTHORITY.caller("anna").certificate
    for now in (BEGIN, NOW, END):
        assert of(pem, now=now).identity == "mtls:anna"
    for now in (BEGIN - SECOND, END + SECOND):
        with refused(Reason.CERTIFICATE_EXPIRED):
            of(pem, now=now)
    assert of(pem).identity == "mtls:anna"


def test_an_expired_certificate_that_names_nobody_is_refused_too():
    pem = CRAFTING.caller(subject()).certificate
    with refused(Reason.CERTIFICATE_EXPIRED):
        of(pem, now=NOW + timedelta(days=36500))


@pytest.mark.parametrize("pem", [b"", b"x", b"\xff", b"-----BEGIN CERTIFICATE-----\n"])
def test_what_is_no_certificate(pem):
    with refused(Reason.CERTIFICATE_MALFORMED):
        of(pem)


def thumbprint(certificate):
    der = x509.load_pem_x509_certificate(certificate.pem.encode()).public_bytes(Encoding.DER)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


@pytest.fixture
def verifier(tmp_path):
    (tmp_path / "jwks.json").write_bytes(jwks(jwk(P256, "p")))
    return TokenVerifier([Issuer.from_file(ISSUER, AUDIENCE, tmp_path / "jwks.json")])


def test_a_bound_token_needs_its_certificate_each_time(verifier):
    mine, other = shown(), shown()
    bound = token(cnf={"x5t#S256": thumbprint(mine)})
    for _ in range(2):
        assert verifier.identity(bound, mine) == f"jwt:{ISSUER} alice"
        for certificate in (None, other):
            with refused(Reason.TOKEN_BINDING):
                verifier.identity(bound, certificate)


def test_a_token_that_is_not_bound_may_come_with_a_certificate(verifier):
    assert verifier.identity(token(), shown())


@pytest.mark.parametrize(
    "confirmation",
    [
        {},
        "x",
        [],
        {"jkt": "A"},
        {"x5t#S256": 5},
        {"x5t#S256": "\u00e9"},
        {"x5t#S256": ""},
        {"x5t#S1": "A"},
    ],
)
def test_a_token_bound_in_another_way_is_no_bearer_token(verifier, confirmation):
    with refused(Reason.TOKEN_BINDING):
        verifier.identity(token(cnf=confirmation), shown())


def test_a_token_bound_in_two_ways(verifier):
    mine = shown()
    with refused(Reason.TOKEN_BINDING):
        verifier.identity(token(cnf={"x5t#S256": thumbprint(mine), "jkt": "A"}), mine)
