"""API keys, `sg_<id>_<secret>`: made here, shown once, and known again by a keyed digest.

A key comes as `authorization: Bearer sg_...`, as a token does: so one rule refuses two credentials,
every client library can send it, and what hides bearer credentials from logs hides keys as well.

The id is public, and finds the key; the secret holds 256 random bits. Its HMAC (SHA-256, under a
key that the gateways of one registry share) covers the id, the holder and the expiry too, so that
whoever can write to the database can neither make a key nor turn one into another's. Keys and
their revocations are taken from the registry's log, so that nobody can undo a revocation either.
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from registry.state.logged_state import LoggedApiKey, LoggedFacts
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import read_private_file
from sealgate.trust.times import format_time, parse_time

PREFIX = "sg_"

_KEY = re.compile(r"sg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_CONTEXT = "sealgate/api-key/v1"
_ID_BYTES = 6
_SECRET_BYTES = 32
# A shorter secret would be the weakest part.
_MAC_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was made just now. `text` is for its holder alone."""

    key_id: str
    digest: str
    text: str = field(repr=False)


class ApiKeyMaker:
    """Makes keys and checks them, with the gateways' own secret."""

    def __init__(self, mac_key: bytes) -> None:
        if len(mac_key) < _MAC_KEY_BYTES:
            raise ValueError("the key for API keys is shorter than 32 bytes")
        self._mac_key = mac_key

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Raises SealgateError: KEY_FILE_EXPOSED, KEY_UNREADABLE."""
        try:
            return cls(read_private_file(path))
        except ValueError as error:
            raise SealgateError(Reason.KEY_UNREADABLE, f"{path}: {error}") from error

    def make(self, holder: str, expires: datetime) -> NewApiKey:
        key_id = secrets.token_hex(_ID_BYTES)
        secret = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()
        digest = self._digest(key_id, secret, holder, format_time(expires))
        return NewApiKey(key_id, digest, f"{PREFIX}{key_id}_{secret}")

    def matches(self, secret: str, key: LoggedApiKey) -> bool:
        digest = self._digest(key.key_id, secret, key.holder, key.expires)
        return hmac.compare_digest(sha256(digest.encode()), key.digest)

    def _digest(self, key_id: str, secret: str, holder: str, expires: str) -> str:
        # None of these can hold a line break.
        message = "\n".join((_CONTEXT, key_id, holder, expires, secret)).encode()
        return hmac.digest(self._mac_key, message, hashlib.sha256).hex()


class KnownKeys:
    """The keys that the registry's log tells of."""

    def __init__(self, maker: ApiKeyMaker, logged: LoggedFacts) -> None:
        self._maker = maker
        self._logged = logged
        self._blocked: set[str] = set()

    def block(self, key_id: str) -> None:
        """Let a key pass no more, whatever the log says."""
        self._blocked.add(key_id)

    def holder(self, text: str, now: datetime) -> str:
        """The name of the principal whose key it is.

        Raises: API_KEY_MALFORMED; API_KEY_INVALID, the same for an unknown id and for a wrong
        secret; and only for who has the secret, API_KEY_REVOKED and API_KEY_EXPIRED.
        """
        parts = _KEY.fullmatch(text)
        if parts is None:
            raise SealgateError(Reason.API_KEY_MALFORMED)
        key = self._logged.api_keys.get(parts[1])
        if key is None or not self._maker.matches(parts[2], key):
            raise SealgateError(Reason.API_KEY_INVALID)
        if key.key_id in self._logged.key_revocations or key.key_id in self._blocked:
            raise SealgateError(Reason.API_KEY_REVOKED, key.key_id)
        if now >= parse_time(key.expires):
            raise SealgateError(Reason.API_KEY_EXPIRED, key.key_id)
        return key.holder


def now() -> datetime:
    return datetime.now(UTC)
