"""Bearer tokens: a JWT is verified against the key set of its issuer, and yields an identity.

The algorithm follows from the key, never from the token (RFC 8725, section 3.1), so neither `none`
nor a key confusion can pass. Roles in a token's claims are not looked at.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from sealgate.reasons import Reason, Refusal

# RFC 7518: a P-256 key signs ES256; RFC 8037: an Ed25519 key signs EdDSA.
_ALGORITHM_OF_KEY = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
# Clocks of issuer and gateway may differ by this much.
_LEEWAY_SECONDS = 10
_REQUIRED_CLAIMS = ["exp", "iss", "aud", "sub"]

_REASON_OF_ERROR: tuple[tuple[type[Exception], Reason], ...] = (
    (jwt.ExpiredSignatureError, Reason.TOKEN_EXPIRED),
    (jwt.ImmatureSignatureError, Reason.TOKEN_NOT_YET_VALID),
    (jwt.InvalidIssuedAtError, Reason.TOKEN_NOT_YET_VALID),
    (jwt.InvalidAudienceError, Reason.TOKEN_AUDIENCE),
    (jwt.InvalidIssuerError, Reason.TOKEN_ISSUER),
    (jwt.InvalidAlgorithmError, Reason.TOKEN_ALGORITHM),
    (jwt.InvalidSignatureError, Reason.TOKEN_SIGNATURE),
)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are believed: the issuer's URL, our audience, its keys by `kid`."""

    url: str
    audience: str
    keys: Mapping[str, jwt.PyJWK]

    @classmethod
    def from_file(cls, url: str, audience: str, key_set: Path) -> "Issuer":
        """Reads a JWK set (RFC 7517). Each key needs a `kid` of its own.

        Raises: ValueError for a set that is empty or holds a key that is not accepted.
        """
        keys: dict[str, jwt.PyJWK] = {}
        for entry in json.loads(key_set.read_text())["keys"]:
            algorithm = _ALGORITHM_OF_KEY.get((entry.get("kty"), entry.get("crv")))
            kid = entry.get("kid")
            if algorithm is None or not kid or kid in keys or "d" in entry:
                raise ValueError(
                    f"{key_set}: each key must be a public P-256 or Ed25519 key with its own kid"
                )
            keys[kid] = jwt.PyJWK(entry, algorithm)
        if not keys:
            raise ValueError(f"{key_set}: the key set is empty")
        return cls(url, audience, keys)


class TokenVerifier:
    """Verifies bearer tokens of a fixed set of issuers."""

    def __init__(self, issuers: list[Issuer]) -> None:
        self._issuers = {issuer.url: issuer for issuer in issuers}

    def identity(self, token: str) -> str:
        """The identity `jwt:<issuer> <subject>` that a valid token proves.

        Raises: TOKEN_MALFORMED, TOKEN_ALGORITHM, TOKEN_ISSUER, TOKEN_SIGNATURE, TOKEN_EXPIRED,
        TOKEN_NOT_YET_VALID, TOKEN_AUDIENCE.
        """
        issuer, key = self._select(token)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=issuer.audience,
                issuer=issuer.url,
                leeway=_LEEWAY_SECONDS,
                options={"require": _REQUIRED_CLAIMS},
            )
        except jwt.PyJWTError as error:
            raise _refusal(error) from error
        return f"jwt:{issuer.url} {claims['sub']}"

    def _select(self, token: str) -> tuple[Issuer, jwt.PyJWK]:
        """Finds issuer and key from what the token claims, before anything in it is believed."""
        try:
            unverified: dict[str, Any] = jwt.decode_complete(
                token, options={"verify_signature": False}
            )
        except jwt.PyJWTError as error:
            raise _refusal(error) from error
        header = unverified["header"]
        if header.get("alg") not in _ALGORITHM_OF_KEY.values():
            raise Refusal(Reason.TOKEN_ALGORITHM)
        issuer = self._issuers.get(str(unverified["payload"].get("iss")))
        if issuer is None:
            raise Refusal(Reason.TOKEN_ISSUER)
        key = issuer.keys.get(str(header.get("kid")))
        if key is None:
            raise Refusal(Reason.TOKEN_SIGNATURE, "no such key")
        if key.algorithm_name != header["alg"]:
            raise Refusal(Reason.TOKEN_ALGORITHM, "the key is of another algorithm")
        return issuer, key


def _refusal(error: jwt.PyJWTError) -> Refusal:
    for kind, reason in _REASON_OF_ERROR:
        if isinstance(error, kind):
            return Refusal(reason)
    return Refusal(Reason.TOKEN_MALFORMED, type(error).__name__)
