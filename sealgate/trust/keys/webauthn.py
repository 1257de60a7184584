"""WebAuthn assertions as signatures over statements, verified offline.

A passkey does not sign a statement itself. It signs what an authenticator and a browser say about
it: `authenticatorData || SHA-256(clientDataJSON)`, and `clientDataJSON` holds a challenge. Here the
challenge is the SHA-256 of the very bytes that a private key would sign (for a statement, DSSE's
pre-authentication encoding), so an assertion stands for one statement alone.

Authenticator data (W3C Web Authentication, section 6.1):

    32 bytes  SHA-256 of the RP id
     1 byte   flags: bit 0 user present, 2 user verified, 3 backup eligible, 4 backed up,
              6 attested credential data, 7 extensions
     4 bytes  signature counter, big-endian
    extensions, if bit 7 is set
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.keys.cose import CoseKey

TYPE = "sealgate/webauthn-assertion/v1"
_CEREMONY = "webauthn.get"
_SHORTEST = 37
_PRESENT, _VERIFIED, _ELIGIBLE, _BACKED_UP = 0x01, 0x04, 0x08, 0x10
_ATTESTED, _EXTENDED = 0x40, 0x80
_LARGEST = 4096
_MOST_ORIGINS = 8
_RP_ID = re.compile(r"(?=.{1,253}$)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*")
_ORIGIN = re.compile(r"https://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?|http://localhost(?::[0-9]{1,5})?")
_NATIVE_ORIGIN = re.compile(r"sealgate:[a-z0-9-]{1,63}")


@dataclass(frozen=True, slots=True)
class Assertion:
    """An authenticator's response, in the place of a signature's bytes."""

    authenticator_data: bytes
    client_data: bytes
    signature: bytes

    def encode(self) -> bytes:
        """Return the canonical JSON, which stands in an envelope as the signature."""
        return canonical.encode(
            {
                "type": TYPE,
                "authenticatorData": _base64(self.authenticator_data),
                "clientDataJSON": _base64(self.client_data),
                "signature": _base64(self.signature),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes. Raises SealgateError(DOCUMENT_MALFORMED)."""
        if len(data) > 4 * _LARGEST:
            raise fields.malformed("an assertion is too long")
        names = ("authenticatorData", "clientDataJSON", "signature")
        record = fields.record(canonical.decode(data), names, TYPE)
        return cls(*(fields.unbase64(record[name]) for name in names))

    @property
    def is_native(self) -> bool:
        """Whether a program asked for it, and not a web page. Raises as `origin` does."""
        return _NATIVE_ORIGIN.fullmatch(self.origin) is not None

    @property
    def counter(self) -> int:
        """The authenticator's signature counter; 0 where it keeps none."""
        return int.from_bytes(self.authenticator_data[33:_SHORTEST])

    @property
    def origin(self) -> str:
        """Where the assertion was asked for, as the browser or program says.

        Raises SealgateError(WEBAUTHN_MALFORMED).
        """
        origin = _client_data(self.client_data)["origin"]
        if not isinstance(origin, str):
            raise _malformed("no origin")
        return origin


@dataclass(frozen=True, slots=True)
class Passkey:
    """A person's passkey, as a policy lists it. It verifies like a public key.

    `rp_id` and `origins` say where it may be used: web origins, or `sealgate:<program>` for
    programs that reach a security key themselves. `credential` is the authenticator's own name for
    the key. User verification is always required. Raises SealgateError(DOCUMENT_MALFORMED).
    """

    key: CoseKey
    credential: bytes
    rp_id: str
    origins: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.credential) <= 1023:
            raise fields.malformed("a credential id has between 1 and 1023 bytes")
        if not _RP_ID.fullmatch(self.rp_id):
            raise fields.malformed("an RP id is a host's name")
        if not 1 <= len(fields.unique(self.origins)) <= _MOST_ORIGINS:
            raise fields.malformed("a passkey has between 1 and 8 origins")
        for origin in self.origins:
            if not (_ORIGIN.fullmatch(origin) or _NATIVE_ORIGIN.fullmatch(origin)):
                raise fields.malformed("an origin is of another form")

    @property
    def keyid(self) -> str:
        """The key's id, as for every other key."""
        return self.key.keyid

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check that an assertion, encoded, stands for `message`: `verify_challenge` does."""
        self.verify_challenge(signature, challenge(message))

    def verify_challenge(self, signature: bytes, expected: bytes) -> Assertion:
        """Return the assertion that `signature` encodes, if it answers a challenge.

        1. It is an assertion in its canonical form (DOCUMENT_MALFORMED); its client data are JSON
           that names type, challenge and origin once (WEBAUTHN_MALFORMED).
        2. Its type is that of an assertion, not of an enrolment (WEBAUTHN_TYPE).
        3. Its challenge is the expected one (WEBAUTHN_CHALLENGE).
        4. Its origin is one of the passkey's, and not that of a page within another's
           (WEBAUTHN_ORIGIN).
        5. The authenticator data are whole (WEBAUTHN_MALFORMED) and of the RP id
           (WEBAUTHN_RP_ID).
        6. The user was present and verified (WEBAUTHN_USER).
        7. The key signed both (SIGNATURE_INVALID).
        """
        # 1.
        assertion = Assertion.decode(signature)
        said = _client_data(assertion.client_data)
        # 2.
        if said["type"] != _CEREMONY:
            raise SealgateError(Reason.WEBAUTHN_TYPE, str(said["type"])[:40])
        # 3.
        if said["challenge"] != fields.base64url(expected):
            raise SealgateError(Reason.WEBAUTHN_CHALLENGE)
        # 4.
        framed = said.get("crossOrigin", False) is not False or "topOrigin" in said
        if said["origin"] not in self.origins or framed:
            raise SealgateError(Reason.WEBAUTHN_ORIGIN, str(said["origin"])[:80])
        # 5. and 6.
        _check_authenticator_data(assertion.authenticator_data, self.rp_id)
        # 7.
        hashed = hashlib.sha256(assertion.client_data).digest()
        self.key.verify(assertion.signature, assertion.authenticator_data + hashed)
        return assertion

    def to_json(self) -> dict[str, Any]:
        return {
            "cose_key": _base64(self.key.data),
            "credential": _base64(self.credential),
            "rp_id": self.rp_id,
            "origins": list(self.origins),
            "user_verification": "required",
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        names = ("cose_key", "credential", "rp_id", "origins", "user_verification")
        record = fields.record(value, names)
        if record["user_verification"] != "required":
            raise fields.malformed("user verification is always required")
        key = CoseKey.decode(fields.unbase64(record["cose_key"]))
        credential = fields.unbase64(record["credential"])
        return cls(key, credential, fields.text(record["rp_id"]), fields.texts(record["origins"]))


def challenge(message: bytes) -> bytes:
    """Return the challenge that stands for `message`: 32 bytes."""
    return hashlib.sha256(message).digest()


def check_counter(last: int, counter: int) -> None:
    """Check a signature counter against the highest that was seen of the key, 0 for none.

    An authenticator that keeps no counter always says 0. Raises SealgateError(WEBAUTHN_COUNTER)
    where the counter has not grown: another device has the same key.
    """
    if (last or counter) and counter <= last:
        raise SealgateError(Reason.WEBAUTHN_COUNTER, f"{counter} after {last}")


def _check_authenticator_data(data: bytes, rp_id: str) -> None:
    """The steps 5 and 6 of `Passkey.verify_challenge`."""
    # 5.
    if len(data) < _SHORTEST:
        raise _malformed("authenticator data are cut short")
    flags = data[32]
    if flags & _ATTESTED or bool(flags & _EXTENDED) != (len(data) > _SHORTEST):
        raise _malformed("authenticator data are longer or shorter than they say")
    if flags & _BACKED_UP and not flags & _ELIGIBLE:
        raise _malformed("a key is backed up that cannot be")
    if data[:32] != hashlib.sha256(rp_id.encode()).digest():
        raise SealgateError(Reason.WEBAUTHN_RP_ID, f"not {rp_id}")
    # 6.
    if not flags & _PRESENT or not flags & _VERIFIED:
        raise SealgateError(Reason.WEBAUTHN_USER, f"flags {flags:#04x}")


def _client_data(data: bytes) -> dict[str, Any]:
    if len(data) > _LARGEST:
        raise _malformed("client data are too long")
    try:
        said = json.loads(data.decode("utf-8"), object_pairs_hook=fields.unique_members)
    except (ValueError, RecursionError) as error:
        raise _malformed("client data are not JSON") from error
    if not isinstance(said, dict) or not {"type", "challenge", "origin"} <= said.keys():
        raise _malformed("client data lack something")
    return said


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _malformed(detail: str) -> SealgateError:
    return SealgateError(Reason.WEBAUTHN_MALFORMED, detail)
