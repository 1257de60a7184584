"""An authenticator in software: passkeys with fixed keys, and whatever they may be made to say."""

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from fido2 import cbor
from fido2.cose import ES256, RS256, EdDSA

from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import webauthn
from sealgate.trust.keys.cose import CoseKey
from sealgate.trust.keys.webauthn import Assertion, Passkey
from sealgate.trust.statements import passkey_envelope, signing_challenge
from sealgate.trust.statements.base import Statement

RP_ID = "console.example.org"
ORIGIN = "https://console.example.org"
PRESENT, VERIFIED, _ATTESTED = 0x01, 0x04, 0x40
# The RSA key of W3C's test vectors: the two smallest Mersenne primes of at least 1024 bits.
_PRIMES = (2**1279 - 1, 2**2203 - 1)
ALGORITHMS = ("es256", "eddsa", "rs256")


@cache
def _key(name: str, algorithm: str) -> Any:
    seed = hashlib.sha256(f"{name} passkey".encode()).digest()
    if algorithm == "es256":
        return ec.derive_private_key(int.from_bytes(seed) >> 1, ec.SECP256R1())
    if algorithm == "eddsa":
        return ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    (p, q), e = _PRIMES, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    crt = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    public = rsa.RSAPublicNumbers(e, p * q)
    # Whether these are primes takes a second to check.
    return rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key()


@dataclass(frozen=True)
class Authenticator:
    """One passkey of `name`, of an algorithm of ALGORITHMS."""

    name: str
    algorithm: str = "es256"
    rp_id: str = RP_ID
    origin: str = ORIGIN

    @property
    def passkey(self) -> Passkey:
        """The passkey as a policy lists it."""
        kinds = {"es256": ES256, "eddsa": EdDSA, "rs256": RS256}
        kind: Any = kinds[self.algorithm]
        public = _key(self.name, self.algorithm).public_key()
        data = cbor.encode(dict(kind.from_cryptography_key(public)))
        credential = hashlib.sha256(self.name.encode()).digest()
        return Passkey(CoseKey.decode(data), credential, self.rp_id, (self.origin,))

    @property
    def keyid(self) -> str:
        return self.passkey.keyid

    def created(self) -> bytes:
        """The authenticator data with which the passkey is made at a page, in base64url."""
        credential = self.passkey.credential
        hashed = hashlib.sha256(self.rp_id.encode()).digest()
        flags = bytes([PRESENT | VERIFIED | _ATTESTED])
        named = bytes(16) + len(credential).to_bytes(2) + credential
        data = hashed + flags + bytes(4) + named + self.passkey.key.data
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    def answer(
        self,
        challenge: bytes,
        /,
        *,
        flags: int = PRESENT | VERIFIED,
        counter: int = 0,
        rp_id: str = "",
        extra: bytes = b"",
        signed: bytes | None = None,
        **said: Any,
    ) -> Assertion:
        """The assertion for a challenge; `said` changes the client data, `signed` the message."""
        client = {
            "type": "webauthn.get",
            "challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "origin": self.origin,
            "crossOrigin": False,
        }
        client_data = json.dumps(client | said).encode()
        hashed = hashlib.sha256((rp_id or self.rp_id).encode()).digest()
        data = hashed + bytes([flags]) + counter.to_bytes(4) + extra
        message = data + hashlib.sha256(client_data).digest() if signed is None else signed
        return Assertion(data, client_data, self._sign(message))

    def answer_hash(self, hashed: bytes, rp_id: str, flags: int) -> tuple[bytes, bytes]:
        """Authenticator data and signature of a device, which is told the client data's hash."""
        data = hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + bytes(4)
        return data, self._sign(data + hashed)

    def sign(self, message: bytes, **changes: Any) -> bytes:
        """The signature over a message, as an envelope holds it."""
        return self.answer(webauthn.challenge(message), **changes).encode()

    def envelope(self, statement: Statement, **changes: Any) -> Envelope:
        """The statement, signed with the passkey."""
        assertion = self.answer(signing_challenge(statement), **changes)
        return passkey_envelope(statement, self.keyid, assertion)

    def _sign(self, message: bytes) -> bytes:
        key = _key(self.name, self.algorithm)
        if self.algorithm == "es256":
            return bytes(key.sign(message, ec.ECDSA(hashes.SHA256())))
        if self.algorithm == "eddsa":
            return bytes(key.sign(message))
        return bytes(key.sign(message, padding.PKCS1v15(), hashes.SHA256()))
