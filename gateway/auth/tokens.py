"""Bearer tokens: a JWT is verified against the key set of its issuer, and yields an identity.

The algorithm follows from the key, never from the token (RFC 8725, section 3.1), so neither `none`
nor a key confusion can pass. Roles in a token's claims are not looked at. Cheap checks come before
a signature is verified, and a verified token is trusted for a minute at most.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jwt

from gateway.auth.certificates import ClientCertificate, Confirmation
from gateway.auth.key_sets import ALGORITHMS, FileKeys, KeySet, KeySource
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields

LEEWAY_SECONDS = 10
"""Clocks of issuer and gateway may differ by this much."""

_LONGEST = 8192
_LONGEST_HEADER = 1024
_DOTS = 2
_END_OF_TIME = 1 << 53
# Types of a token that says who calls (RFC 8725, section 3.11; RFC 9068): a DPoP proof, a logout
# token or an encrypted one is signed with the same keys, and means something else.
_TYPES = frozenset({"jwt", "at+jwt"})
_MEDIA_TYPE = "application/"
# Members of a header that change how the rest is read: extensions that must be understood, a
# payload that is not base64url (RFC 7797) or is compressed or encrypted, a token within a token.
_REFUSED_MEMBERS = frozenset({"crit", "b64", "zip", "enc", "cty"})
_PARTS = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """The parts of a token's header and claims that say how, and whether, to verify it."""

    algorithm: str
    kid: str
    issuer: str
    claims: dict[str, Any]

    @classmethod
    def read(cls, token: str) -> "UnverifiedToken":
        """Read a token, of which nothing is believed yet.

        Raises: TOKEN_MALFORMED, also for a header that asks to be read in another way (`crit`,
        `b64`, `zip`, `enc`, `cty`) or names something twice; TOKEN_TYPE.
        """
        looks_right = len(token) <= _LONGEST and token.count(".") == _DOTS
        parts = _PARTS.fullmatch(token) if looks_right else None
        if parts is None or len(parts[1]) > _LONGEST_HEADER:
            raise SealgateError(Reason.TOKEN_MALFORMED, "not three parts")
        header, claims = _object(parts[1]), _object(parts[2])
        if not _REFUSED_MEMBERS.isdisjoint(header):
            raise SealgateError(Reason.TOKEN_MALFORMED, "it asks for extensions")
        _check_type(header)
        return cls(
            algorithm=_text(header, "alg"),
            kid=_text(header, "kid"),
            issuer=_text(claims, "iss"),
            claims=claims,
        )

    def check_times(self, now: float) -> None:
        """Raises: TOKEN_EXPIRED, TOKEN_NOT_YET_VALID; TOKEN_MALFORMED for what is no time."""
        if self._time("exp", required=True) <= now - LEEWAY_SECONDS:
            raise SealgateError(Reason.TOKEN_EXPIRED)
        for name in ("nbf", "iat"):
            if self._time(name) > now + LEEWAY_SECONDS:
                raise SealgateError(Reason.TOKEN_NOT_YET_VALID)

    def check_audience(self, expected: str) -> None:
        """Raises: TOKEN_AUDIENCE, TOKEN_MALFORMED."""
        named = self.claims.get("aud")
        if not isinstance(named, str | list):
            raise SealgateError(Reason.TOKEN_MALFORMED, "no audience")
        if named != expected and (isinstance(named, str) or expected not in named):
            raise SealgateError(Reason.TOKEN_AUDIENCE)

    def _time(self, name: str, *, required: bool = False) -> float:
        if name not in self.claims and not required:
            return 0.0
        value: Any = self.claims.get(name)
        # Neither a bool, nor infinite, nor NaN.
        if type(value) not in (int, float) or not 0 <= value < _END_OF_TIME:
            raise SealgateError(Reason.TOKEN_MALFORMED, f"{name} is not a time")
        return float(value)


def _check_type(header: dict[str, Any]) -> None:
    """Check that a token says who calls, if it says what it is. Raises: TOKEN_TYPE."""
    if "typ" not in header:
        return
    named = header["typ"]
    if not isinstance(named, str) or not named.isascii():
        raise SealgateError(Reason.TOKEN_TYPE, "not text")
    # Media types are compared without case, and may leave out the prefix (RFC 7515, 4.1.9).
    if named.lower().removeprefix(_MEDIA_TYPE) not in _TYPES:
        raise SealgateError(Reason.TOKEN_TYPE, named[:40])


def _text(members: dict[str, Any], name: str) -> str:
    """A member's text; empty, which nothing is named, for one that is missing or no text."""
    value = members.get(name)
    return value if isinstance(value, str) else ""


def _object(part: str) -> dict[str, Any]:
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        value = json.loads(data, object_pairs_hook=fields.unique_members)
    except (ValueError, RecursionError) as error:
        raise SealgateError(Reason.TOKEN_MALFORMED, type(error).__name__) from error
    if not isinstance(value, dict):
        raise SealgateError(Reason.TOKEN_MALFORMED, "not an object")
    return value


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The identity that a token proves, and until when (seconds since 1970) it may be trusted.

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
    """A trusted issuer of tokens: its URL, our audience, and where its keys are."""

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

    def may_wait(self, token: str) -> bool:
        """Whether `identity` may wait for the keys of the token's issuer, for the token is of a
        form that could be valid, and names a key that is not known.
        """
        try:
            unverified, issuer = self._read(token, self._clock())
        except SealgateError:
            # Which `identity` raises at once.
            return False
        return issuer.keys.may_wait(unverified.kid)

    def known(self, token: str) -> VerifiedToken | None:
        """The result of a token that was verified, even if it no longer holds."""
        return self._verified.get(_digest(token))

    def _read(self, token: str, now: float) -> tuple[UnverifiedToken, Issuer]:
        """Step 2."""
        unverified = UnverifiedToken.read(token)
        if unverified.algorithm not in ALGORITHMS:
            raise SealgateError(Reason.TOKEN_ALGORITHM)
        issuer = self.issuers.get(unverified.issuer)
        if issuer is None:
            raise SealgateError(Reason.TOKEN_ISSUER)
        unverified.check_times(now)
        unverified.check_audience(issuer.audience)
        return unverified, issuer

    def _verify(self, token: str, now: float, policy: str) -> VerifiedToken:
        # 2.
        unverified, issuer = self._read(token, now)
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
