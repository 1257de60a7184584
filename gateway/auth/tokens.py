"""Bearer tokens: a JWT is verified against the key set of its issuer, and yields an identity.

The algorithm follows from the key, never from the token (RFC 8725, section 3.1), so neither `none`
nor a key confusion can pass. Roles in a token's claims are not looked at. What is cheap to see is
looked at before a signature is verified; and what was verified stays so for a minute at most.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jwt

from gateway.auth.certificates import ClientCertificate, Confirmation
from gateway.auth.claims import LEEWAY_SECONDS, UnverifiedToken
from gateway.auth.key_sets import ALGORITHMS, FileKeys, KeySet, KeySource
from sealgate.reasons import Reason, SealgateError


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a token proves, and until when (seconds since 1970) it may be taken for proven.

    `policy` is the digest of the policy under which, and `key_set` the set with which it was
    verified: where either has changed, which `source` says of the set, it is verified again.
    """

    identity: str
    confirmation: Confirmation | None
    source: KeySource
    key_set: KeySet
    policy: str
    until: float

    def holds(self, now: float, policy: str) -> bool:
        """Whether nothing has changed. Raises: KEY_SET_ reasons, without usable keys."""
        return now < self.until and policy == self.policy and self.source.current() is self.key_set


class VerifiedTokens:
    """Whether an entry still holds is for its reader to ask; the oldest make room for new ones."""

    SECONDS: ClassVar[float] = 60.0
    MOST: ClassVar[int] = 10_000

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._entries: dict[bytes, VerifiedToken] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes) -> VerifiedToken | None:
        return self._entries.get(digest)

    def put(self, digest: bytes, verified: VerifiedToken) -> None:
        with self._lock:
            self._entries.pop(digest, None)
            while len(self._entries) >= self._most:
                del self._entries[next(iter(self._entries))]
            self._entries[digest] = verified


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
    """Whose tokens are believed: the issuer's URL, our audience, and where its keys are."""

    url: str
    audience: str
    keys: KeySource

    @classmethod
    def from_file(cls, url: str, audience: str, key_set: Path) -> "Issuer":
        """Reads a JWK set. Raises: ValueError, as `FileKeys` does."""
        return cls(url, audience, FileKeys(key_set))


class TokenVerifier:
    """Verifies bearer tokens of a fixed set of issuers."""

    def __init__(self, issuers: list[Issuer], clock: Callable[[], float] = time.time) -> None:
        self.issuers = {issuer.url: issuer for issuer in issuers}
        self._clock = clock
        self._verified = VerifiedTokens()

    def start(self) -> None:
        """Begin to fetch the keys that have to be fetched."""
        for issuer in self.issuers.values():
            issuer.keys.start()

    def close(self) -> None:
        for issuer in self.issuers.values():
            issuer.keys.close()

    def identity(
        self, token: str, certificate: ClientCertificate | None = None, policy: str = ""
    ) -> str:
        """The identity `jwt:<issuer> <subject>` that a valid token proves.

        `certificate` is the caller's, if there is one; `policy` the digest of that in force.

        1. A token that was verified within the last minute is not verified again.
        2. Form, algorithm, issuer, times and audience are those of a token that could be valid.
        3. The issuer has the key, and it verifies the token.
        4. A token that is bound to a certificate comes with it, every time.

        Raises: TOKEN_ reasons, KEY_SET_UNREACHABLE, KEY_SET_REFUSED.
        """
        # 1.
        now = self._clock()
        digest = _digest(token)
        verified = self._verified.get(digest)
        if verified is None or not verified.holds(now, policy):
            verified = self._verify(token, now, policy)
            self._verified.put(digest, verified)
        # 4.
        if verified.confirmation is not None:
            shown = None if certificate is None else certificate.thumbprint()
            verified.confirmation.check(shown)
        return verified.identity

    def known(self, token: str) -> VerifiedToken | None:
        """What was found of a token that was verified, whether or not it still holds."""
        return self._verified.get(_digest(token))

    def _verify(self, token: str, now: float, policy: str) -> VerifiedToken:
        # 2.
        unverified = UnverifiedToken.read(token)
        if unverified.algorithm not in ALGORITHMS:
            raise SealgateError(Reason.TOKEN_ALGORITHM)
        issuer = self.issuers.get(unverified.issuer)
        if issuer is None:
            raise SealgateError(Reason.TOKEN_ISSUER)
        unverified.check_times(now)
        unverified.check_audience(issuer.audience)
        # 3.
        key_set, claims = _decode(token, issuer, unverified)
        return VerifiedToken(
            identity=f"jwt:{issuer.url} {claims['sub']}",
            confirmation=Confirmation.of(claims),
            source=issuer.keys,
            key_set=key_set,
            policy=policy,
            until=min(now + VerifiedTokens.SECONDS, float(claims["exp"])),
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _decode(
    token: str, issuer: Issuer, unverified: UnverifiedToken
) -> tuple[KeySet, Mapping[str, Any]]:
    found = issuer.keys.find(unverified.kid)
    if found is None:
        raise SealgateError(Reason.TOKEN_SIGNATURE, "no such key")
    key_set, key = found
    if key.algorithm_name != unverified.algorithm:
        raise SealgateError(Reason.TOKEN_ALGORITHM, "the key is of another algorithm")
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=issuer.audience,
            issuer=issuer.url,
            leeway=LEEWAY_SECONDS,
            options={"require": _REQUIRED_CLAIMS},
        )
    except jwt.PyJWTError as error:
        raise _refusal(error) from error
    return key_set, claims


def _refusal(error: jwt.PyJWTError) -> SealgateError:
    for kind, reason in _REASON_OF_ERROR:
        if isinstance(error, kind):
            return SealgateError(reason)
    return SealgateError(Reason.TOKEN_MALFORMED, type(error).__name__)
