"""Signs a statement with a passkey: what to ask the authenticator for, and the envelope."""

from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import webauthn
from sealgate.trust.keys.webauthn import Assertion
from sealgate.trust.statements.base import Statement


def signing_challenge(statement: Statement) -> bytes:
    """Return the WebAuthn challenge for a statement.

    It is the SHA-256 of the bytes that a private key would sign: DSSE's pre-authentication encoding
    of the statement.
    """
    return webauthn.challenge(dsse.pae(statement.PAYLOAD_TYPE, statement.encode()))


def passkey_envelope(statement: Statement, keyid: str, assertion: Assertion) -> Envelope:
    """Return the statement with the assertion as its signature. Nothing is verified here."""
    signature = (keyid, assertion.encode())
    return Envelope(statement.PAYLOAD_TYPE, statement.encode(), (signature,))
