"""Harnesses of credentials: tokens, the key sets that verify them, certificates."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.auth.key_sets import KeySet
from gateway.auth.tokens import Issuer, TokenVerifier
from sealgate.setup.credentials import CertificateAuthority
from sealgate.trust.keys.certificate_identity import certificate_identity
from tests.fuzz.harness import Harness, chosen
from tests.support.harness.servers import issuer

_SIGNER = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)


@cache
def _verifier() -> TokenVerifier:
    """With the keys of the tests' issuer."""
    keys = KeySet.parse(issuer.jwks(issuer.jwk(issuer.P256, "p")), strict=True)
    return TokenVerifier([Issuer(issuer.ISSUER, issuer.AUDIENCE, _FixedKeys(keys))])


class _FixedKeys:
    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def current(self) -> KeySet:
        return self._keys

    def find(self, kid: str) -> tuple[KeySet, jwt.PyJWK] | None:
        key = self._keys.keys.get(kid)
        return (self._keys, key) if key is not None else None

    def may_wait(self, kid: str) -> bool:
        return False

    def start(self) -> None: ...

    def close(self) -> None: ...


def _parse_token(data: bytes) -> None:
    """The first byte picks: a token as it comes, or one whose header and claims, a line each, are
    the fuzzer's and whose signature is genuine.
    """
    kind, rest = chosen(data, 4)
    if kind:
        _verifier().identity(rest.decode("utf-8", "surrogateescape"))
        return
    header, _, claims = rest.partition(b"\n")
    signed = b".".join(map(jwt.utils.base64url_encode, (header, claims)))
    signature = _SIGNER.sign(signed, issuer.P256)
    token = b".".join((signed, jwt.utils.base64url_encode(signature))).decode()
    assert _verifier().identity(token).startswith(f"jwt:{issuer.ISSUER} ")


def _tokens() -> Iterator[bytes]:
    yield b"\1" + issuer.token().encode()
    header = {"alg": "ES256", "kid": "p", "typ": "JWT"}
    until = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    claims = {"iss": issuer.ISSUER, "aud": issuer.AUDIENCE, "sub": "alice", "exp": until}
    yield b"\0" + json.dumps(header).encode() + b"\n" + json.dumps(claims).encode()
    bound = claims | {"cnf": {"x5t#S256": "A" * 43}, "nbf": 1, "iat": 1, "aud": ["a"]}
    yield b"\0" + json.dumps(header).encode() + b"\n" + json.dumps(bound).encode()


def _parse_key_set(data: bytes) -> None:
    kind, rest = chosen(data, 2)
    KeySet.parse(rest, strict=kind == 0)


def _key_sets() -> Iterator[bytes]:
    keys = (issuer.P256, issuer.ED25519, issuer.RSA)
    whole = issuer.jwks(*(issuer.jwk(key, str(place)) for place, key in enumerate(keys)))
    for kind in range(2):
        yield bytes([kind]) + whole


def _parse_certificate(data: bytes) -> None:
    identity = certificate_identity(data)
    assert identity is None or identity.isprintable()


def _certificates() -> Iterator[bytes]:
    authority = CertificateAuthority("callers", datetime.now(UTC), timedelta(days=1))
    for made in (
        authority.caller("alice"),
        authority.caller("alice", "spiffe://example.org/alice"),
        authority.server("gateway", ("localhost", "127.0.0.1")),
    ):
        yield x509.load_pem_x509_certificate(made.certificate).public_bytes(Encoding.DER)


HARNESSES = (
    Harness(
        "tokens",
        _parse_token,
        _tokens,
        ("gateway.auth.tokens",),
    ),
    Harness("key-sets", _parse_key_set, _key_sets, ("gateway.auth.key_sets",)),
    Harness(
        "certificates",
        _parse_certificate,
        _certificates,
        ("sealgate.trust.keys.certificate_identity",),
    ),
)
