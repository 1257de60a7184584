"""Tokens that were verified a moment ago, by their SHA-256: a bounded number, for a minute."""

import threading
from dataclasses import dataclass
from typing import ClassVar

from gateway.credentials.binding import Confirmation
from gateway.credentials.key_sets import KeySet, KeySource


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
