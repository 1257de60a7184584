"""A token issuer for one installation: ES256 JWTs and the key set that verifies them.

A company points the gateway at its own issuer instead; this one lets a first day begin without it.
"""

import json
from datetime import datetime, timedelta

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER = "https://issuer.sealgate.localhost"
AUDIENCE = "sealgate"
_KEY_ID = "local-1"


def new_issuer_key() -> bytes:
    """A fresh P-256 key as PKCS#8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def key_set(issuer_key: bytes) -> bytes:
    """The JWK set (RFC 7517) with the issuer's public key."""
    key = serialization.load_pem_private_key(issuer_key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the issuer's key is not a P-256 key")
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    entry = {**public, "kid": _KEY_ID, "use": "sig", "alg": "ES256"}
    return json.dumps({"keys": [entry]}, indent=2).encode()


def mint_token(issuer_key: bytes, subject: str, now: datetime, lifetime: timedelta) -> str:
    """A bearer token for `subject`, valid from `now` for `lifetime`."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": now,
        "nbf": now,
        "exp": now + lifetime,
    }
    return jwt.encode(claims, issuer_key, algorithm="ES256", headers={"kid": _KEY_ID})
