"""Signing in at a provider: what is accepted, and why anything else is not."""

import gzip
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from console.config import OidcSettings
from console.sign_in.oidc import OidcSignIn, SignInFailed
from sealgate.setup.credentials import CertificateAuthority
from sealgate.trust.keys.certificate_identity import thumbprint
from tests.support.harness.servers.oidc_provider import CLIENT, OidcProvider, providing


@pytest.fixture(scope="module")
def authority():
    return CertificateAuthority("callers", datetime.now(UTC), timedelta(days=1))


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority):
    with providing(tmp_path_factory.mktemp("provider"), authority.pem) as provider:
        yield provider


@pytest.fixture
def provider(server) -> OidcProvider:
    server.subject, server.id_token, server.access_token = "admin", {}, {}
    server.raw = {}
    return server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory, authority):
    folder = tmp_path_factory.mktemp("certificate")
    made = authority.nobody()
    (folder / "c.pem").write_bytes(made.certificate)
    (folder / "c.key").write_bytes(made.key)
    return folder / "c.pem", folder / "c.key"


class Clock:
    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(provider, certificate, clock):
    def make(**changes):
        settings = OidcSettings(issuer=provider.url, client_id=CLIENT, authority=provider.authority)
        pem, key = certificate
        bound = thumbprint(pem.read_text())
        files = (str(pem), str(key))
        back = "https://console.example/oidc/callback"
        return OidcSignIn(replace(settings, **changes), back, files, bound, clock)

    return make


def test_a_person_signs_in_with_a_token_bound_to_the_consoles_certificate(provider, make):
    sign_in = make()
    url, number = sign_in.begin()
    person = sign_in.finish(number, provider.visit(url))
    assert person.identity == f"jwt:{provider.url} admin"
    assert person.expires > time.time()
    assert "code_verifier" in provider.asked[-1]


def refused(sign_in, number, query) -> str:
    with pytest.raises(SignInFailed) as caught:
        sign_in.finish(number, query)
    return str(caught.value)


def test_a_sign_in_is_finished_once_and_by_the_browser_that_began_it(provider, make):
    sign_in = make()
    url, number = sign_in.begin()
    query = provider.visit(url)
    assert "not begun here" in refused(sign_in, "another browser", query)
    sign_in.finish(number, query)
    assert "not begun here" in refused(sign_in, number, query)


def test_a_sign_in_that_took_too_long_is_refused(provider, make, clock):
    sign_in = make()
    url, number = sign_in.begin()
    query = provider.visit(url)
    clock.ahead = 600.0
    assert "took too long" in refused(sign_in, number, query)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"state": "x"}, "belongs to another sign-in"),
        ({"iss": "https://evil.example"}, "another provider's"),
        ({"code": "x"}, "did not accept the sign-in"),
        ({"code": None}, "did not sign you in"),
    ],
)
def test_an_answer_that_was_changed_is_refused(provider, make, changes, says):
    sign_in = make()
    url, number = sign_in.begin()
    query = {**provider.visit(url), **changes}
    query = {name: value for name, value in query.items() if value is not None}
    assert says in refused(sign_in, number, query)


DESCRIPTION = "/.well-known/openid-configuration"
NESTED = b"[" * 100_000


def test_a_description_without_measure_is_refused(provider, make):
    described = json.dumps(provider.documents()[DESCRIPTION]).encode()
    compressed = gzip.compress(described)
    for answer in (b" " * 300_000 + described, compressed, NESTED, b"[]", b"null"):
        provider.raw = {DESCRIPTION: answer}
        with pytest.raises(SignInFailed):
            make().begin()
    provider.raw = {DESCRIPTION: described}
    make().begin()


@pytest.mark.parametrize("keys", [NESTED, b"[]", b"null", b"1", b'{"keys": 1}', b'{"keys": [1]}'])
def test_keys_of_another_form_are_refused(provider, make, keys):
    sign_in = make()
    url, number = sign_in.begin()
    query = provider.visit(url)
    provider.raw = {"/keys": keys}
    refused(sign_in, number, query)


PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("which", "claims", "says"),
    [
        ("id_token", {"nonce": "x"}, "id token belongs to another sign-in"),
        ("id_token", {"nonce": None}, "id token belongs to another sign-in"),
        ("id_token", {"aud": "another"}, "Audience"),
        ("id_token", {"iss": "https://evil.example"}, "issuer"),
        ("id_token", {"exp": PAST}, "expired"),
        ("id_token", {"sub": "mallory"}, "different people"),
        ("access_token", {"sub": "mallory"}, "different people"),
        ("access_token", {"exp": PAST}, "expired"),
        ("access_token", {"exp": None}, "exp"),
        ("access_token", {"cnf": None}, "not bound to the console's certificate"),
        ("access_token", {"cnf": {"x5t#S256": "0" * 43}}, "not bound"),
        ("access_token", {"cnf": {"jkt": "x"}}, "not bound"),
        ("access_token", {"cnf": "x"}, "not bound"),
    ],
)
def test_a_token_that_says_something_else_is_refused(provider, make, which, claims, says):
    setattr(provider, which, claims)
    sign_in = make()
    url, number = sign_in.begin()
    assert says in refused(sign_in, number, provider.visit(url))


def test_a_token_of_another_key_is_refused(provider, make):
    sign_in = make()
    url, number = sign_in.begin()
    query = provider.visit(url)
    before, provider.key = provider.key, ec.generate_private_key(ec.SECP256R1())
    try:
        assert "Signature verification failed" in refused(sign_in, number, query)
    finally:
        provider.key = before


def test_unbound_tokens_are_taken_where_the_configuration_says_so_aloud(provider, make):
    provider.access_token = {"cnf": None}
    sign_in = make(unsafe_unbound_tokens=True)
    url, number = sign_in.begin()
    assert sign_in.finish(number, provider.visit(url)).identity.endswith(" admin")
    # One that is bound to another's certificate would be refused by the gateway anyway.
    provider.access_token = {"cnf": {"x5t#S256": "0" * 43}}
    url, number = sign_in.begin()
    assert "not bound" in refused(sign_in, number, provider.visit(url))


def test_a_provider_that_calls_itself_otherwise_is_refused(provider, make):
    with pytest.raises(SignInFailed, match="description of itself"):
        make(issuer=provider.url + "/").begin()


def test_no_code_is_sent_in_the_clear(provider, make, monkeypatch):
    """Nor the console's secret, wherever the provider says that tokens are given."""
    elsewhere = {"token_endpoint": "http://127.0.0.1:9/token"}
    monkeypatch.setattr(provider, "described", {"mtls_endpoint_aliases": elsewhere})
    with pytest.raises(SignInFailed, match="description of itself"):
        make().begin()


def test_a_provider_that_is_away_is_told(make, provider):
    with pytest.raises(SignInFailed, match="cannot be reached"):
        make(issuer="https://127.0.0.1:9").begin()
