"""Answers of the registry that are kept while its log stays as it is.

Every change of the registry adds an entry to its log in the same transaction, so a checkpoint names
one state of the registry, policy and rights included. What somebody was answered under a checkpoint
holds for them as long as the gateway tells that very checkpoint, with the same token.

A gateway may take a moment to follow a new policy, and answers by the one before meanwhile. So
nothing is kept that is answered in the first seconds of a policy.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """Who asked what of which state of the registry. `token` is a digest; `state` is the log's
    origin, size and root hash.
    """

    identity: str
    token: str
    state: str
    method: str
    request: bytes


class RegistryAnswers:
    """The answers that were asked for last; for a minute, since a gateway's own settings may also
    say what it answers. Safe for many threads.
    """

    MOST: ClassVar[int] = 256
    KEPT: ClassVar[timedelta] = timedelta(minutes=1)
    SETTLED: ClassVar[timedelta] = timedelta(seconds=5)

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[AnswerKey, tuple[datetime, Any]] = {}
        self._policy: tuple[str, datetime] = ("", clock())

    def has_settled(self, policy: str) -> bool:
        """Whether the newest policy, by its digest, has been that for long enough."""
        now = self._clock()
        digest, since = self._policy
        if digest != policy:
            self._policy = policy, now
            return False
        return now - since >= self.SETTLED

    def find(self, key: AnswerKey) -> Any:
        """The answer, or None. It is shared, so nobody may change it."""
        since, answer = self._kept.get(key, (None, None))
        return answer if since is not None and since + self.KEPT > self._clock() else None

    def keep(self, key: AnswerKey, answer: Any) -> None:
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= self.MOST:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (self._clock(), answer)


def state_of(note: str) -> str:
    """What a checkpoint says of its log: origin, size and root hash, without signatures."""
    return note.partition("\n\n")[0]
