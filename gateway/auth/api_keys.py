"""API keys, `sg_<id>_<secret>`: made here, shown once, and known again from a table in memory.

A thread looks for changes as the engine's watch does: a key that is revoked by one gateway falls on
the others within milliseconds, and on that one before the revocation is answered. It reads verified
entries of the registry's log (see `registry.state.logged_state`): an edited table revives no key,
and a log that was put back is not followed.

A key comes as `authorization: Bearer sg_...`, as a token does: so one rule refuses two credentials,
every client library can send it, and what hides bearer credentials from logs hides keys as well.

The id is public, and finds the key; the secret holds 256 random bits. Its HMAC (SHA-256, under a
key that the gateways of one registry share) covers the id, the holder and the expiry too, so that
whoever can write to the database can neither make a key nor turn one into another's. Keys and
their revocations are taken from the registry's log, so that nobody can undo a revocation either.
"""

import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from registry.registry import Registry
from registry.state.logged_state import LoggedApiKey, LoggedFacts
from registry.storage.changes import Changes
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
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
_log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5
# A registry that failed is asked again after this long.
_RETRY_SECONDS = 1.0


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
        secret = fields.base64url(secrets.token_bytes(_SECRET_BYTES))
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


class KeyTable:
    """Follows the API keys of a registry. Without a `maker` there are none."""

    def __init__(
        self,
        maker: ApiKeyMaker | None,
        clock: Callable[[], datetime] = now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._maker = maker
        self.registry: Registry | None = None
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: KnownKeys | None = None
        self._token: object = None
        self._confirmed_at = 0.0
        self._changes: Changes | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="api-keys", daemon=True)

    @property
    def maker(self) -> ApiKeyMaker:
        """Raises: API_KEYS_OFF."""
        if self._maker is None:
            raise SealgateError(Reason.API_KEYS_OFF)
        return self._maker

    def start(self, registry: Registry) -> None:
        """Read the keys, then follow them in a thread.

        Raises: REGISTRY_UNAVAILABLE, LOG_INCONSISTENT.
        """
        if self._maker is not None:
            self.registry = registry
            self.follow()
            self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            if self._changes is not None:
                self._changes.wake()
            self._thread.join()

    def follow(self) -> None:
        """Read what is new, if anything has changed.

        Raises: REGISTRY_UNAVAILABLE, LOG_INCONSISTENT.
        """
        registry = self.registry
        if registry is None:
            return
        with self._lock:
            asked_at = self._monotonic()
            token = registry.change_token()
            if token != self._token or self._known is None:
                logged = registry.logged()
                # The same object grows from then on.
                self._known = self._known or KnownKeys(self.maker, logged)
                self._token = token
            self._confirmed_at = asked_at

    def block(self, key_id: str) -> None:
        """Let a key pass no more here, although its revocation could not be recorded."""
        if self._known is not None:
            self._known.block(key_id)

    def holder(self, text: str, fresh: float) -> str:
        """The name of the principal whose key it is.

        With the registry away, what was last read holds for `fresh` seconds. Raises:
        REGISTRY_UNAVAILABLE after that, and API_KEY_ reasons.
        """
        if self._maker is None:
            raise SealgateError(Reason.API_KEY_INVALID, "there are no API keys here")
        known = self._known
        if known is None or self._monotonic() - self._confirmed_at > fresh:
            raise SealgateError(Reason.REGISTRY_UNAVAILABLE, "the API keys are not up to date")
        return known.holder(text, self._clock())

    def _run(self) -> None:
        if self.registry is None:
            return
        changes = self._changes = self.registry.changes()
        try:
            while not self._stopping.is_set():
                if changes.wait(_WAIT_SECONDS) and not self._stopping.is_set():
                    self._guarded()
        finally:
            changes.close()

    def _guarded(self) -> None:
        try:
            self.follow()
        except SealgateError as refusal:
            _log.error("following the API keys: %s", refusal)
            self._stopping.wait(_RETRY_SECONDS)
