"""Bearer tokens: what a valid one proves, and the reason of each that is refused."""

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.tokens import Issuer, TokenVerifier
from sealgate.reasons import Reason, Refusal

ISSUER, AUDIENCE = "https://issuer.example", "sealgate"
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


def jwk(key, kid):
    algorithm = jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else None
    algorithm = algorithm or jwt.algorithms.OKPAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}


@pytest.fixture
def verifier(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk(P256, "p"), jwk(ED25519, "e")]}))
    return TokenVerifier([Issuer.from_file(ISSUER, AUDIENCE, path)])


def claims(**changes):
    now = datetime.now(UTC)
    base = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + timedelta(minutes=5)}
    return {name: value for name, value in (base | changes).items() if value is not None}


def token(key=P256, kid="p", algorithm="ES256", **changes):
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={"kid": kid})


def refused(verifier, text):
    with pytest.raises(Refusal) as caught:
        verifier.identity(text)
    return caught.value.reason


@pytest.mark.parametrize(
    ("key", "kid", "algorithm"), [(P256, "p", "ES256"), (ED25519, "e", "EdDSA")]
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
        ({"nbf": minutes(5)}, Reason.TOKEN_NOT_YET_VALID),
        ({"iat": minutes(5)}, Reason.TOKEN_NOT_YET_VALID),
        ({"aud": "another"}, Reason.TOKEN_AUDIENCE),
        ({"aud": None}, Reason.TOKEN_MALFORMED),
        ({"iss": "https://elsewhere.example"}, Reason.TOKEN_ISSUER),
        ({"iss": None}, Reason.TOKEN_ISSUER),
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
    import hashlib
    import hmac

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


@pytest.mark.parametrize("case", ["empty", "rsa", "no kid", "twice", "private"])
def test_key_sets_that_are_refused(tmp_path, case):
    one = jwk(P256, "p")
    rsa_key = rsa.generate_private_key(65537, 2048)
    keys = {
        "empty": [],
        "rsa": [
            {**jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key(), as_dict=True), "kid": "r"}
        ],
        "no kid": [{name: value for name, value in one.items() if name != "kid"}],
        "twice": [one, one],
        "private": [{**jwt.algorithms.ECAlgorithm.to_jwk(P256, as_dict=True), "kid": "p"}],
    }[case]
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": keys}))
    with pytest.raises(ValueError, match="key"):
        Issuer.from_file(ISSUER, AUDIENCE, path)
