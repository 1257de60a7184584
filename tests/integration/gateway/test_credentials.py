"""Credentials over the wire: SPIFFE certificates, bound tokens, an issuer with rotating keys."""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta

import grpc
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.app import build
from gateway.config.document import GatewayConfig
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import Access
from sealgate.setup.credentials import AUDIENCE, ISSUER, CertificateAuthority
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from sealgate.trust.policy import Policy
from tests.support.harness.gateway import GatewayHarness, refusal
from tests.support.harness.servers.issuer import P256, RSA, jwk, jwks, serving
from tests.support.oracles.disk import contents

WORKLOAD = "spiffe://example.org/batch"
CALLERS = CertificateAuthority("more callers", datetime.now(UTC), timedelta(days=1))


def add_to_policy(state, **identities):
    """Signs the first policy again, with more identities of some principals."""
    path = state / "trust" / "policy.json"
    document = json.loads(Envelope.decode(path.read_bytes()).payload)
    for person in document["principals"]:
        person["identities"] += identities.get(person["name"], [])
    roots = [load_private_key(state / "roots" / f"root-{number}.key") for number in (1, 2)]
    path.write_bytes(dsse.sign(Policy.PAYLOAD_TYPE, canonical.encode(document), *roots).encode())


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("issuer")) as server:
        server.documents["/keys"] = jwks(jwk(P256, "p"))
        server.discoverable()
        yield server


@pytest.fixture(scope="module")
def harness(tmp_path_factory, issuer):
    harness = GatewayHarness(tmp_path_factory.mktemp("credentials") / "state")
    add_to_policy(
        harness.state,
        client=[f"spiffe:{WORKLOAD}", "mtls:client"],
        auditor=[f"jwt:{issuer.url} auditor"],
    )
    callers = harness.state / "tls" / "callers.pem"
    callers.write_bytes(callers.read_bytes() + CALLERS.pem)
    config = harness.state / "gateway.toml"
    tokens = f'[[tokens]]\nurl = "{issuer.url}"\naudience = "{AUDIENCE}"\n'
    tokens += f'discovery = true\nauthority = "{issuer.authority}"\n'
    config.write_text(config.read_text() + tokens)
    harness.start()
    yield harness
    harness.stop()


def stub(harness, certificate=None, token=None):
    """The inference service, called with a certificate, or a token, or both."""
    profile = harness.profile("admin" if certificate else "client")
    access = Access(
        profile.endpoint,
        profile.server_authority.read_bytes(),
        token,
        certificate.certificate if certificate else None,
        certificate.key if certificate else None,
    )
    return GRPCInferenceServiceStub(grpc.secure_channel(access.endpoint, access.credentials()))


def ask(harness, certificate=None, token=None):
    return stub(harness, certificate, token).ServerMetadata(oip.ServerMetadataRequest(), timeout=60)


def refused(harness, certificate=None, token=None):
    call = stub(harness, certificate, token).ServerMetadata
    return refusal(call, oip.ServerMetadataRequest(), timeout=60)


def test_a_workload_is_known_by_its_spiffe_id(harness):
    # Other names in the certificate are ignored.
    assert ask(harness, CALLERS.caller("admin", WORKLOAD))
    reason = refusal(
        stub(harness, CALLERS.caller("admin", WORKLOAD)).ModelInfer,
        oip.ModelInferRequest(model_name="Digits"),
        timeout=60,
    )
    assert reason is not Reason.ROLE_TOO_LOW


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        (("spiffe://example.org/other",), Reason.PRINCIPAL_UNKNOWN),
        (("spiffe://example.org/batch/",), Reason.CERTIFICATE_MALFORMED),
        (("SPIFFE://example.org/batch",), Reason.CERTIFICATE_MALFORMED),
        ((WORKLOAD, "spiffe://example.org/other"), Reason.CREDENTIAL_AMBIGUOUS),
        ((WORKLOAD, "https://example.org"), Reason.CREDENTIAL_AMBIGUOUS),
    ],
)
def test_workloads_that_are_refused(harness, uris, reason):
    assert refused(harness, CALLERS.caller("admin", *uris)) is reason


def thumbprint(certificate):
    der = x509.load_pem_x509_certificate(certificate.certificate).public_bytes(Encoding.DER)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def bound_token(harness, subject, certificate):
    now = datetime.now(UTC)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": now + timedelta(minutes=5)}
    claims["cnf"] = {"x5t#S256": thumbprint(certificate)}
    key = (harness.state / "issuer" / "issuer.key").read_bytes()
    return jwt.encode(claims, key, "ES256", {"kid": "local-1"})


def test_a_bound_token_comes_with_its_certificate(harness):
    mine = CALLERS.caller("client")
    token = bound_token(harness, "client", mine)
    assert ask(harness, mine, token)
    # Known again, it is still bound.
    assert refused(harness, None, token) is Reason.TOKEN_BINDING
    assert refused(harness, CALLERS.caller("client"), token) is Reason.TOKEN_BINDING
    assert ask(harness, mine, token)


def test_a_bound_token_of_somebody_else(harness):
    mine = CALLERS.caller("admin")
    assert (
        refused(harness, mine, bound_token(harness, "client", mine)) is Reason.CREDENTIAL_AMBIGUOUS
    )


def issued(issuer, key, kid):
    now = datetime.now(UTC)
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "auditor"}
    claims["exp"] = now + timedelta(minutes=5)
    return jwt.encode(claims, key, "RS256" if key is RSA else "ES256", {"kid": kid})


def test_keys_found_by_discovery_and_rotated_in_the_middle(harness, issuer):
    assert ask(harness, token=issued(issuer, P256, "p"))
    issuer.documents["/keys"] = jwks(jwk(P256, "p"), jwk(RSA, "r"))
    keys = harness.gateway.authenticator.tokens.issuers[issuer.url].keys
    keys.last_at -= 10
    assert ask(harness, token=issued(issuer, RSA, "r"))
    assert refused(harness, token=issued(issuer, RSA, "unknown")) is Reason.TOKEN_SIGNATURE
    asked = issuer.asked["/keys"]
    for number in range(20):
        refused(harness, token=issued(issuer, RSA, f"unknown-{number}"))
    assert issuer.asked["/keys"] == asked


def shown(harness, *words, person=None):
    result = harness.command("api-key", *words, "--json", person=person)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_an_api_key_from_its_creation_to_its_end(harness):
    made = shown(harness, "create", "client", "--label", "nightly", "--days", "1")
    assert re.fullmatch(r"sg_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", made["key"])
    assert ask(harness, token=made["key"])
    listed = shown(harness, "list", person="auditor")
    assert {"id": made["id"], "state": "issued"}.items() <= listed[-1].items()
    assert made["key"] not in json.dumps(listed)
    wrong = made["key"][:-8] + "A" * 8
    assert refused(harness, token=wrong) is Reason.API_KEY_INVALID
    assert refused(harness, token="sg_x") is Reason.API_KEY_MALFORMED
    ended = shown(harness, "revoke", made["id"], "--reason", "leaked")
    assert ended["state"] == "revoked by admin: leaked"
    assert refused(harness, token=made["key"]) is Reason.API_KEY_REVOKED
    again = harness.command("api-key", "revoke", made["id"], "--reason", "leaked")
    assert again.exit_code == 1
    assert "API_KEY_ENDED" in again.output


def test_an_api_key_is_nowhere_on_the_disk(harness):
    made = shown(harness, "create", "client")
    secret = made["key"].split("_", 2)[2].encode()
    for path, data in contents(harness.state):
        assert secret not in data, path


def test_an_api_key_beside_another_credential(harness):
    key = shown(harness, "create", "client")["key"]
    assert ask(harness, CALLERS.caller("client"), key)
    assert refused(harness, CALLERS.caller("admin"), key) is Reason.CREDENTIAL_AMBIGUOUS
    values = [("authorization", f"Bearer {key}"), ("authorization", f"Bearer {key}")]
    call = stub(harness).ServerMetadata
    request = oip.ServerMetadataRequest()
    assert refusal(call, request, timeout=60, metadata=values) is Reason.CREDENTIAL_AMBIGUOUS
    other = [("x-api-key", key)]
    assert refusal(call, request, timeout=60, metadata=other) is Reason.CREDENTIAL_MISSING


def test_a_key_for_nobody(harness):
    result = harness.command("api-key", "create", "nobody")
    assert result.exit_code == 1
    assert "PRINCIPAL_UNKNOWN" in result.output


def test_a_gateway_without_a_secret_issues_no_keys(tmp_path):
    harness = GatewayHarness(tmp_path / "state")
    config = harness.state / "gateway.toml"
    config.write_text(config.read_text().replace('mac_key = "keys/api-keys.key"', ""))
    harness.gateway = build(GatewayConfig.read(config))
    harness.gateway.start()
    try:
        result = harness.command("api-key", "create", "client")
        assert "API_KEYS_OFF" in result.output
        assert refused(harness, token="sg_" + "0" * 12 + "_" + "A" * 43) is Reason.API_KEY_INVALID
    finally:
        harness.stop()
