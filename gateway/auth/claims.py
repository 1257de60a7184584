"""What a token claims before anything in it is believed: enough to refuse most bad ones cheaply."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from sealgate.reasons import Reason, SealgateError

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
        value = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise SealgateError(Reason.TOKEN_MALFORMED, type(error).__name__) from error
    if not isinstance(value, dict):
        raise SealgateError(Reason.TOKEN_MALFORMED, "not an object")
    return value


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are unique: readers differ in which of two they take. Raises
    ValueError.
    """
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a name occurs twice")
    return found
