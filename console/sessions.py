"""Sessions, kept in this process alone: the browser has a random number, and no token.

A session ends after the idle time, after the absolute time, when its token expires, or when its
person signs out. A restart of the console ends all of them.
"""

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

_BYTES = 32
MOST = 1_000
"""Sessions at a time; the one that was idle longest makes room."""


@dataclass(slots=True)
class BrowserSession:
    """A signed-in person: `identity` as the policy knows them, and the token of their calls.

    Times are seconds since 1970. `csrf` is what the forms of this session carry. `agent` says
    which browser it is, as the browser said it.
    """

    identity: str
    token: str
    begun: float
    expires: float
    agent: str = ""
    seen: float = 0.0
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(_BYTES))
    handle: str = field(default_factory=lambda: secrets.token_hex(8))


class SessionStore:
    """The sessions by the digest of the browser's number, so that a look at them opens none."""

    def __init__(
        self,
        idle: float,
        absolute: float,
        clock: Callable[[], float],
        ended: Callable[[BrowserSession], None] = lambda session: None,
    ) -> None:
        """`ended` is told of each session that ends, in whatever way."""
        self._ended = ended
        self._idle = idle
        self._absolute = absolute
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, BrowserSession] = {}

    def open(self, identity: str, token: str, token_expires: float, agent: str) -> str:
        """Begin a session; return the number that goes into the cookie."""
        now = self._clock()
        session = BrowserSession(
            identity=identity,
            token=token,
            begun=now,
            expires=min(now + self._absolute, token_expires),
            agent=agent[:200],
            seen=now,
        )
        number = secrets.token_urlsafe(_BYTES)
        self.drop_ended()
        with self._lock:
            longest = sorted(self._sessions.values(), key=lambda each: each.seen)
            self._sessions[_digest(number)] = session
        for each in longest[: max(0, len(longest) - MOST + 1)]:
            self.close(each)
        return number

    def find(self, number: str) -> BrowserSession | None:
        """The session of a cookie, if it holds; its idle time begins anew."""
        self.drop_ended()
        with self._lock:
            session = self._sessions.get(_digest(number))
            if session is not None:
                session.seen = self._clock()
            return session

    def of(self, identity: str) -> list[BrowserSession]:
        """The sessions of a person, the newest first."""
        self.drop_ended()
        with self._lock:
            found = [s for s in self._sessions.values() if s.identity == identity]
        return sorted(found, key=lambda session: -session.begun)

    def close(self, session: BrowserSession) -> None:
        self._end(lambda other: other is session)

    def close_all(self, identity: str) -> None:
        """End every session of a person."""
        self._end(lambda session: session.identity == identity)

    def drop_ended(self) -> None:
        """End the sessions whose time is over."""
        now = self._clock()
        self._end(lambda each: now >= each.expires or now >= each.seen + self._idle)

    def _end(self, which: Callable[[BrowserSession], bool]) -> None:
        with self._lock:
            ended = [key for key, session in self._sessions.items() if which(session)]
            gone = [self._sessions.pop(key) for key in ended]
        for session in gone:
            self._ended(session)


def _digest(number: str) -> str:
    return hashlib.sha256(number.encode()).hexdigest()
