"""What a token claims before anything in it is believed: enough to refuse most bad ones cheaply."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from sealgate.reasons import Reason, Refusal

LEEWAY_SECONDS = 10
"""Clocks of issuer and gateway may differ by this much."""

_LONGEST = 8192
_LONGEST_HEADER = 1024
_DOTS = 2
_END_OF_TIME = 1 << 53
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
        """Raises: TOKEN_MALFORMED, also for extensions that must be understood (`crit`)."""
        looks_right = len(token) <= _LONGEST and token.count(".") == _DOTS
        parts = _PARTS.fullmatch(token) if looks_right else None
        if parts is None or len(parts[1]) > _LONGEST_HEADER:
            raise Refusal(Reason.TOKEN_MALFORMED, "not three parts")
        header, claims = _object(parts[1]), _object(parts[2])
        if "crit" in header:
            raise Refusal(Reason.TOKEN_MALFORMED, "it asks for extensions")
        return cls(
            algorithm=str(header.get("alg")),
            kid=str(header.get("kid")),
            issuer=str(claims.get("iss")),
            claims=claims,
        )

    def check_times(self, now: float) -> None:
        """Raises: TOKEN_EXPIRED, TOKEN_NOT_YET_VALID; TOKEN_MALFORMED for what is no time."""
        if self._time("exp", required=True) <= now - LEEWAY_SECONDS:
            raise Refusal(Reason.TOKEN_EXPIRED)
        for name in ("nbf", "iat"):
            if self._time(name) > now + LEEWAY_SECONDS:
                raise Refusal(Reason.TOKEN_NOT_YET_VALID)

    def check_audience(self, expected: str) -> None:
        """Raises: TOKEN_AUDIENCE, TOKEN_MALFORMED."""
        named = self.claims.get("aud")
        if not isinstance(named, str | list):
            raise Refusal(Reason.TOKEN_MALFORMED, "no audience")
        if named != expected and (isinstance(named, str) or expected not in named):
            raise Refusal(Reason.TOKEN_AUDIENCE)

    def _time(self, name: str, *, required: bool = False) -> float:
        if name not in self.claims and not required:
            return 0.0
        value: Any = self.claims.get(name)
        # Neither a bool, nor infinite, nor NaN.
        if type(value) not in (int, float) or not 0 <= value < _END_OF_TIME:
            raise Refusal(Reason.TOKEN_MALFORMED, f"{name} is not a time")
        return float(value)


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError) as error:
        raise Refusal(Reason.TOKEN_MALFORMED, type(error).__name__) from error
    if not isinstance(value, dict):
        raise Refusal(Reason.TOKEN_MALFORMED, "not an object")
    return value
