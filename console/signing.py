"""Statements that wait for a passkey's signature, each of one session, for ten minutes, once.

The console drafts a statement and shows it; the browser asks the authenticator for a signature over
a challenge that is made of that statement's bytes; the registry and the engine verify it from the
pinned root keys. So the console can sign nothing itself.
"""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from console.display.base64url import encode
from sealgate.promotion.drafts import StatementDraft
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.keys.cose import CoseKey
from sealgate.trust.keys.webauthn import Assertion, Passkey
from sealgate.trust.policy import Policy, Principal
from sealgate.trust.statements import passkey_envelope, signing_challenge

_SECONDS = 600.0
MOST = 1_000
"""Statements that wait at a time; the oldest makes room."""
_CREDENTIAL_AT, _ATTESTED = 55, 0x40


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
            while len(self._pending) >= MOST:
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
    """What an authenticator keeps of whom a passkey is for, in base64url: nothing of the name."""
    return encode(bytes.fromhex(sha256(name.encode())[7:39]))


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
