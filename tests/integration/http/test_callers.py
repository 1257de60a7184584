"""Rights over HTTP: every path by every role, by each kind of credential."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from gateway.auth.method_rules import ANYONE, RULES
from gateway.transport.http.operations import ROUTES
from sealgate.reasons import Reason
from sealgate.setup.credentials import CertificateAuthority, mint_token
from tests.support.harness.clients.http_client import (
    HttpClient,
    api_key,
    client_of,
    harness_with_http,
    tensor,
)
from tests.support.harness.gateway import GatewayHarness, rows

ROLES = {
    "publisher": "publisher",
    "approver-1": "approver",
    "admin": "admin",
    "auditor": "auditor",
    "client": "client",
}
PATHS = [(route, route.path.format(model="digits", version="1")) for route in ROUTES]


def reasons(client: HttpClient) -> dict[str, Reason | None]:
    """Why each path is refused, if it is."""
    return {f"{route.verb} {path}": client.ask(route.verb, path).reason for route, path in PATHS}


def expected_refusals(person: str) -> set[str]:
    return {
        f"{route.verb} {path}"
        for route, path in PATHS
        if RULES[route.method] != ANYONE and ROLES[person] not in RULES[route.method]
    }


@pytest.mark.parametrize("insecure", [False, True])
def test_nobody_unknown_is_let_in(harness: GatewayHarness, insecure: bool) -> None:
    found = reasons(HttpClient(harness, insecure=insecure))
    assert {place for place, reason in found.items() if reason is None} == {
        "GET /v2/health/live",
        "GET /v2/health/ready",
    }
    assert set(found.values()) == {None, Reason.CREDENTIAL_MISSING}


@pytest.mark.parametrize("person", ROLES)
def test_roles_decide_about_tokens_and_certificates(harness: GatewayHarness, person: str) -> None:
    found = reasons(client_of(harness, person))
    refused = {place for place, reason in found.items() if reason is Reason.ROLE_TOO_LOW}
    assert refused == expected_refusals(person)


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("person", ROLES)
def test_roles_decide_about_api_keys(harness: GatewayHarness, person: str, insecure: bool) -> None:
    found = reasons(HttpClient(harness, api_key(harness, person), insecure=insecure))
    refused = {place for place, reason in found.items() if reason is Reason.ROLE_TOO_LOW}
    assert refused == expected_refusals(person)


def test_load_and_unload_point_to_promotion(harness: GatewayHarness) -> None:
    for person in ("client", "admin"):
        for verb in ("load", "unload"):
            seen = client_of(harness, person).post(f"/v2/repository/models/digits/{verb}", {})
            assert (seen.status, seen.reason) == (403, Reason.PROMOTION_ONLY)


def test_a_token_beside_anothers_certificate(harness: GatewayHarness) -> None:
    profile = harness.profile("auditor")
    token = harness.profile("client").token.read_text().strip()
    pair = (profile.certificate, profile.certificate_key)
    seen = HttpClient(harness, token, pair).get("/v2")
    assert (seen.status, seen.reason) == (401, Reason.CREDENTIAL_AMBIGUOUS)


def test_two_credentials_and_none(harness: GatewayHarness) -> None:
    client = client_of(harness)
    client.connection.putrequest("GET", "/v2")
    for _ in range(2):
        client.connection.putheader("authorization", client.headers["authorization"])
    client.connection.endheaders()
    response = client.connection.getresponse()
    assert b"CREDENTIAL_AMBIGUOUS" in response.read()
    seen = HttpClient(harness).get("/v2")
    assert (seen.status, seen.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Basic Y2xpZW50Og==", Reason.TOKEN_MALFORMED),
        ("Bearer x", Reason.TOKEN_MALFORMED),
        ("Bearer sg_x", Reason.API_KEY_MALFORMED),
        ("Bearer \xe9\xe8", Reason.TOKEN_MALFORMED),
    ],
)
def test_credentials_that_are_none(harness: GatewayHarness, value: str, reason: Reason) -> None:
    client = HttpClient(harness)
    assert client.ask("GET", "/v2", headers={"authorization": value}).reason is reason


def test_headers_that_claim_an_identity_are_not_looked_at(harness: GatewayHarness) -> None:
    claims = {"x-forwarded-user": "admin", "x-remote-user": "admin", "x-ssl-client-cn": "admin"}
    seen = HttpClient(harness, insecure=True).ask("GET", "/v2", headers=claims)
    assert seen.reason is Reason.CREDENTIAL_MISSING


def test_certificates_of_another_authority_end_the_handshake(
    harness: GatewayHarness, tmp_path_factory: pytest.TempPathFactory
) -> None:
    caller = CertificateAuthority("another", datetime.now(UTC), timedelta(days=1)).caller("admin")
    folder = tmp_path_factory.mktemp("another")
    pair = (folder / "admin.pem", folder / "admin.key")
    for path, content in zip(pair, (caller.certificate, caller.key), strict=True):
        path.write_bytes(content)
    # TLS 1.3 tells it by an alert or, where that comes too late, by a reset.
    with pytest.raises((ssl.SSLError, ConnectionError)):
        HttpClient(harness, pair=pair).get("/v2")


def test_quotas_count_both_doors_together(tmp_path_factory: pytest.TempPathFactory) -> None:
    quota = '\n[[quotas]]\nrole = "client"\ndaily = 2\n'
    harness = harness_with_http(tmp_path_factory.mktemp("quotas") / "state", quota)
    harness.start()
    try:
        key = (harness.state / "issuer" / "issuer.key").read_bytes()
        token = mint_token(key, "client", datetime.now(UTC), timedelta(minutes=10))
        client, before = HttpClient(harness, token), harness.gateway.recorder.size
        found = [client.infer({"inputs": [tensor(rows())]}) for _ in range(3)]
        assert [seen.reason for seen in found] == [
            Reason.MODEL_UNKNOWN,
            Reason.MODEL_UNKNOWN,
            Reason.QUOTA_SPENT,
        ]
        assert found[2].status == 429
        assert 0 < int(found[2].headers["retry-after"]) <= 86_400
        assert harness.gateway.recorder.size == before + 2
    finally:
        harness.stop()
