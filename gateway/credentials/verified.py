"""Tokens that were verified a moment ago, by their SHA-256: a bounded number, for a minute."""

import threading
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from gateway.credentials.tokens import VerifiedToken


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

    def get(self, digest: bytes) -> "VerifiedToken | None":
        return self._entries.get(digest)

    def put(self, digest: bytes, verified: "VerifiedToken") -> None:
        with self._lock:
            self._entries.pop(digest, None)
            while len(self._entries) >= self._most:
                del self._entries[next(iter(self._entries))]
            self._entries[digest] = verified
