"""Sessions, kept in this process alone, and the statements that wait in each for a signature.

The browser has a random number, and no token. A session ends after the idle time, after the
absolute time, when its token expires, or when its person signs out. A restart of the console ends
all of them.

A statement waits for a passkey's signature for ten minutes, and is signed once. The console drafts
it and shows it; the browser asks the authenticator for a signature over a challenge that is made of
its bytes; the registry and the engine verify it from the pinned root keys. So the console can sign
nothing itself.
"""

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sealgate.promotion.drafts import StatementDraft
from sealgate.reasons import Reason, SealgateError
from sealgate.steady_clock import counted
from sealgate.trust.canonical import sha256
from sealgate.trust.fields import base64url
from sealgate.trust.keys.cose import CoseKey
from sealgate.trust.keys.webauthn import Assertion, Passkey
from sealgate.trust.policy import Policy, Principal
from sealgate.trust.statements import passkey_envelope, signing_challenge

_BYTES = 32
MOST = 1_000
"""Sessions at a time; the one that was idle longest makes room."""
_SECONDS = 600.0
MOST_PENDING = 1_000
"""Statements that wait at a time; the oldest makes room."""
_CREDENTIAL_AT, _ATTESTED = 55, 0x40


@dataclass(slots=True)
class BrowserSession:
    """A signed-in person: `identity` as the policy knows them, and the token of their calls.

    Times are seconds since 1970, but for `opened` and `used`: begin and last request by a count of
    seconds that nobody sets back. `csrf` is what the forms of this session carry. `agent` says
    which browser it is, as the browser said it.
    """

    identity: str
    token: str
    begun: float
    expires: float
    agent: str = ""
    seen: float = 0.0
    opened: float = 0.0
    used: float = 0.0
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
        counted: Callable[[], float] = counted,
    ) -> None:
        """`ended` is told of each session that ends, in whatever way. `counted` counts seconds."""
        self._ended = ended
        self._idle = idle
        self._absolute = absolute
        self._clock = clock
        self._counted = counted
        self._lock = threading.Lock()
        self._sessions: dict[str, BrowserSession] = {}

    def open(self, identity: str, token: str, token_expires: float, agent: str) -> str:
        """Begin a session; return the number that goes into the cookie."""
        now, count = self._clock(), self._counted()
        session = BrowserSession(
            identity=identity,
            token=token,
            begun=now,
            expires=min(now + self._absolute, token_expires),
            agent=agent[:200],
            seen=now,
            opened=count,
            used=count,
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
                session.seen, session.used = self._clock(), self._counted()
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
        """End the sessions whose time is over, by the clock or by the count of seconds."""
        now, count = self._clock(), self._counted()
        self._end(
            lambda each: (
                now >= each.expires
                or now >= each.seen + self._idle
                or count >= each.opened + self._absolute
                or count >= each.used + self._idle
            )
        )

    def _end(self, which: Callable[[BrowserSession], bool]) -> None:
        with self._lock:
            ended = [key for key, session in self._sessions.items() if which(session)]
            gone = [self._sessions.pop(key) for key in ended]
        for session in gone:
            self._ended(session)


def _digest(number: str) -> str:
    return hashlib.sha256(number.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PendingSignature:
    """A drafted statement of a session. `confirm` is what its author must type, or empty; `target`
    is where they are led afterwards.
    """

    session: str
    draft: StatementDraft
    target: str
    confirm: str
    until: float

    @property
    def challenge(self) -> bytes:
        """The WebAuthn challenge that stands for the statement."""
        return signing_challenge(self.draft.statement)


class PendingSignatures:
    """The statements that wait, under random numbers."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: dict[str, PendingSignature] = {}

    def add(self, session: str, draft: StatementDraft, target: str, confirm: str) -> str:
        """Keep a statement; return its number."""
        number = secrets.token_urlsafe(16)
        pending = PendingSignature(session, draft, target, confirm, self._clock() + _SECONDS)
        with self._lock:
            while len(self._pending) >= MOST_PENDING:
                del self._pending[next(iter(self._pending))]
            self._pending[number] = pending
        return number

    def get(self, session: str, number: str) -> PendingSignature:
        """Raises SealgateError(PARAMETER_MALFORMED) where the session has no such statement."""
        pending = self._pending.get(number)
        if pending is None or pending.session != session or self._clock() >= pending.until:
            raise SealgateError(
                Reason.PARAMETER_MALFORMED, "the statement waits no more; begin again"
            )
        return pending

    def take(self, number: str) -> bool:
        """Use a statement up; whether it was still there."""
        with self._lock:
            return self._pending.pop(number, None) is not None


def passkeys_of(policy: Policy, person: Principal, origin: str) -> dict[str, Passkey]:
    """The person's passkeys that sign at an origin, by key id."""
    return {
        keyid: passkey
        for keyid in person.keys
        if (passkey := policy.webauthn.keys.get(keyid)) and origin in passkey.origins
    }


def signed_envelope(
    pending: PendingSignature, passkeys: dict[str, Passkey], credential: bytes, given: Assertion
) -> bytes:
    """The envelope of a statement that one of these passkeys signed.

    Raises SealgateError: SIGNER_MISMATCH for another credential, reasons of
    `Passkey.verify_challenge`.
    """
    for keyid, passkey in passkeys.items():
        if passkey.credential == credential:
            passkey.verify_challenge(given.encode(), pending.challenge)
            return passkey_envelope(pending.draft.statement, keyid, given).encode()
    raise SealgateError(Reason.SIGNER_MISMATCH, "the policy lists no such passkey of yours")


def user_handle(name: str) -> str:
    """An authenticator's handle of a passkey's owner, in base64url: nothing of the name."""
    return base64url(bytes.fromhex(sha256(name.encode())[7:39]))


def enrolled(authenticator_data: bytes, origin: str) -> Passkey:
    """The passkey that an authenticator has made, as a policy lists it.

    Raises SealgateError: WEBAUTHN_MALFORMED, reasons of `CoseKey.decode` and `Passkey`.
    """
    length = int.from_bytes(authenticator_data[_CREDENTIAL_AT - 2 : _CREDENTIAL_AT])
    begin = _CREDENTIAL_AT + length
    if len(authenticator_data) <= begin or not authenticator_data[32] & _ATTESTED:
        raise SealgateError(Reason.WEBAUTHN_MALFORMED, "no new passkey")
    credential = authenticator_data[_CREDENTIAL_AT:begin]
    host = urlsplit(origin).hostname or ""
    return Passkey(CoseKey.decode(authenticator_data[begin:]), credential, host, (origin,))
