"""Bearer tokens: what a valid one proves, and the reason of each that is refused."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.auth.tokens import Issuer, TokenVerifier
from sealgate.reasons import Reason, SealgateError
from tests.support.harness.servers.issuer import (
    AUDIENCE,
    ED25519,
    ISSUER,
    P256,
    RSA,
    claims,
    jwk,
    jwks,
    token,
)

KEYS = jwks(jwk(P256, "p"), jwk(ED25519, "e"), jwk(RSA, "r"))
HEAD = b'{"alg":"EdDSA","kid":"e"}'
BODY = json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": 2**40}).encode()


@pytest.fixture
def verifier(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(KEYS)
    return TokenVerifier([Issuer.from_file(ISSUER, AUDIENCE, path)])


def refused(verifier, text):
    with pytest.raises(SealgateError) as caught:
        verifier.identity(text)
    return caught.value.reason


@pytest.mark.parametrize(
    ("key", "kid", "algorithm"),
    [(P256, "p", "ES256"), (ED25519, "e", "EdDSA"), (RSA, "r", "RS256")],
)
def test_a_valid_token_proves_its_subject(verifier, key, kid, algorithm):
    assert verifier.identity(token(key, kid, algorithm)) == f"jwt:{ISSUER} alice"


def test_roles_in_claims_are_not_looked_at(verifier):
    assert verifier.identity(token(roles=["admin"])) == f"jwt:{ISSUER} alice"


def minutes(count):
    return datetime.now(UTC) + timedelta(minutes=count)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": minutes(-5)}, Reason.TOKEN_EXPIRED),
        ({"exp": None}, Reason.TOKEN_MALFORMED),
        ({"sub": None}, Reason.TOKEN_MALFORMED),
        ({"nbf": minutes(600)}, Reason.TOKEN_NOT_YET_VALID),
        ({"iat": minutes(600)}, Reason.TOKEN_NOT_YET_VALID),
        ({"aud": "another"}, Reason.TOKEN_AUDIENCE),
        ({"aud": None}, Reason.TOKEN_MALFORMED),
        ({"iss": "https://elsewhere.example"}, Reason.TOKEN_ISSUER),
        ({"iss": None}, Reason.TOKEN_ISSUER),
        ({"aud": 5}, Reason.TOKEN_MALFORMED),
        ({"aud": []}, Reason.TOKEN_AUDIENCE),
        ({"nbf": True}, Reason.TOKEN_MALFORMED),
    ],
)
def test_claims_that_are_refused(verifier, changes, reason):
    assert refused(verifier, token(**changes)) is reason


def test_unsigned_token(verifier):
    unsigned = jwt.encode(claims(), None, algorithm="none", headers={"kid": "p"})
    assert refused(verifier, unsigned) is Reason.TOKEN_ALGORITHM


def test_public_key_used_as_hmac_secret(verifier):
    # The classic key confusion: the verifier's public key, which everyone knows, as a secret.
    pem = P256.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "p"}).encode()).rstrip(b"=")
    body = jwt.encode(claims(), P256, algorithm="ES256").split(".")[1].encode()
    signature = hmac.digest(pem, head + b"." + body, hashlib.sha256)
    confused = b".".join([head, body, base64.urlsafe_b64encode(signature).rstrip(b"=")])
    assert refused(verifier, confused.decode()) is Reason.TOKEN_ALGORITHM


def test_algorithm_of_another_key(verifier):
    crossed = token(ED25519, "p", "EdDSA")
    assert refused(verifier, crossed) is Reason.TOKEN_ALGORITHM


def test_signature_of_another_key(verifier):
    other = ec.generate_private_key(ec.SECP256R1())
    assert refused(verifier, token(other)) is Reason.TOKEN_SIGNATURE
    assert refused(verifier, token(kid="unknown")) is Reason.TOKEN_SIGNATURE


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "a.b", "..", "\u00e9.b.c", "a" * 5000])
def test_not_a_token(verifier, text):
    assert refused(verifier, text) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "HS256", "ES384"])
def test_algorithms_that_no_key_has(verifier, algorithm):
    head = json.dumps({"alg": algorithm, "kid": "r"}).encode()
    parts = (base64.urlsafe_b64encode(head).rstrip(b"=").decode(), *token(RSA, "r").split(".")[1:])
    assert refused(verifier, ".".join(parts)) is Reason.TOKEN_ALGORITHM


@pytest.mark.parametrize(
    "header", [{"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/certificate"}]
)
def test_addresses_in_a_token_are_not_looked_at(verifier, header):
    other = ec.generate_private_key(ec.SECP256R1())
    head = {"kid": "p", **header, "jwk": jwk(other, "p")}
    assert refused(verifier, jwt.encode(claims(), other, "ES256", head)) is Reason.TOKEN_SIGNATURE


def test_extensions_that_must_be_understood(verifier):
    head = {"kid": "p", "crit": ["exp"]}
    assert refused(verifier, jwt.encode(claims(), P256, "ES256", head)) is Reason.TOKEN_MALFORMED


def of_header(**header):
    """A token with a valid signature and these members of its header."""
    return signed(json.dumps({"alg": "EdDSA", "kid": "e", **header}).encode(), BODY)


@pytest.mark.parametrize("type_", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_types_of_tokens_that_say_who_calls(verifier, type_):
    assert verifier.identity(of_header(typ=type_)) == f"jwt:{ISSUER} alice"


@pytest.mark.parametrize(
    "type_",
    [
        *("dpop+jwt", "JWE", "JOSE", "logout+jwt", "secevent+jwt", "application/dpop+jwt"),
        *("", "application/", "application/application/jwt", "JWT ", "\u212aJWT"),
        *(None, 5, ["JWT"], {"JWT": 1}),
    ],
)
def test_types_of_other_tokens(verifier, type_):
    assert refused(verifier, of_header(typ=type_)) is Reason.TOKEN_TYPE


@pytest.mark.parametrize(
    "member",
    [{"cty": "JWT"}, {"b64": False}, {"b64": True}, {"zip": "DEF"}, {"enc": "A128GCM"}],
)
def test_headers_that_ask_to_be_read_in_another_way(verifier, member):
    assert refused(verifier, of_header(**member)) is Reason.TOKEN_MALFORMED


def test_a_token_within_a_token(verifier):
    within = of_header().encode()
    assert refused(verifier, signed(HEAD, within)) is Reason.TOKEN_MALFORMED
    head = b'{"alg":"EdDSA","kid":"e","cty":"JWT"}'
    assert refused(verifier, signed(head, within)) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b'{"alg":"none","alg":"EdDSA","kid":"e"}', None),
        (b'{"alg":"EdDSA","typ":"dpop+jwt","kid":"e","typ":"JWT"}', None),
        (HEAD, b'{"sub":"bob",'),
    ],
    ids=["alg", "typ", "sub"],
)
def test_names_that_occur_twice(verifier, header, body):
    text = BODY if body is None else body + BODY[1:]
    assert refused(verifier, signed(header, text)) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("header", [b'{"alg":"EdDSA"}', b'{"alg":"EdDSA","kid":null}'])
def test_a_token_without_a_key_id_names_no_key(tmp_path, header):
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(jwk(ED25519, "None")))
    verifier = TokenVerifier([Issuer.from_file(ISSUER, AUDIENCE, path)])
    assert refused(verifier, signed(header, BODY)) is Reason.TOKEN_SIGNATURE


def signed(header, body):
    """A token of these bytes, with a signature that verifies."""
    parts = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, body))
    message = b".".join(parts)
    signature = ED25519.sign(message)
    return (message + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@pytest.mark.parametrize(
    ("header", "body", "reason"),
    [
        (HEAD, BODY.replace(str(2**40).encode(), b"1e999"), Reason.TOKEN_MALFORMED),
        (HEAD, BODY.replace(str(2**40).encode(), b"NaN"), Reason.TOKEN_MALFORMED),
        (HEAD, BODY.replace(str(2**40).encode(), b"9" * 2000), Reason.TOKEN_MALFORMED),
        (HEAD, BODY.replace(b'"alice"', b"5"), Reason.TOKEN_MALFORMED),
        (HEAD, BODY.replace(b'"https', b'["https').replace(b'ple"', b'ple"]'), Reason.TOKEN_ISSUER),
        (HEAD, b"[" * 5000, Reason.TOKEN_MALFORMED),
        (b"[" * 5000, BODY, Reason.TOKEN_MALFORMED),
        (HEAD, b"[]", Reason.TOKEN_MALFORMED),
        (HEAD, b"\xff", Reason.TOKEN_MALFORMED),
        (b'{"alg":["EdDSA"],"kid":"e"}', BODY, Reason.TOKEN_ALGORITHM),
        (b'{"alg":"EdDSA","kid":["e"]}', BODY, Reason.TOKEN_SIGNATURE),
    ],
)
def test_values_of_the_wrong_kind(verifier, header, body, reason):
    assert verifier.identity(signed(HEAD, BODY))
    assert refused(verifier, signed(header, body)) is reason


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_clocks_may_differ_by_ten_seconds(verifier, claim):
    sign = -1 if claim == "exp" else 1
    moment = datetime.now(UTC)
    near, far = (moment + sign * timedelta(seconds=offset) for offset in (7, 13))
    assert verifier.identity(token(**{claim: near}))
    expected = Reason.TOKEN_EXPIRED if claim == "exp" else Reason.TOKEN_NOT_YET_VALID
    assert refused(verifier, token(**{claim: far})) is expected
