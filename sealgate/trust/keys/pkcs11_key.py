"""Private keys that stay in a PKCS#11 token (needs the extra `pkcs11`).

A token signs Ed25519 (EdDSA over the message) and ECDSA P-256 (over its SHA-256). The token's
public object is read once, for the key's id. One process logs in to a token once, however many of
its keys it uses: that is how PKCS#11 counts.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys.pkcs11_uri import KeyUri
from sealgate.trust.keys.signing import PublicKey, read_private_file

_HALF = 32
# The binding does not tell a library that several threads call it, so they call one by one.
_turn = threading.Lock()
# An EC_POINT is a DER OCTET STRING; some libraries hand out its contents alone.
_OCTET_STRING = 4


class TokenKey:
    """A private key in a token. It is a `Signer`, for many threads."""

    def __init__(self, uri: KeyUri, session: Any) -> None:
        """Use `open`."""
        self._uri = uri
        self._session = session
        with _turn, _converted(uri, Reason.KEY_UNREADABLE):
            self._key = _find(session, uri, pkcs11.ObjectClass.PRIVATE_KEY)
            self._public = _public_key(_find(session, uri, pkcs11.ObjectClass.PUBLIC_KEY))

    @classmethod
    def open(cls, uri: KeyUri, ask_pin: Callable[[str], str] | None = None) -> "TokenKey":
        """Find the key. The PIN comes from the URI's file, or else from `ask_pin`.

        Raises SealgateError: KEY_UNREADABLE where there is no such library, token or key, or the
        PIN is missing or wrong; KEY_FILE_EXPOSED for a PIN that others can read.
        """
        pin = _pin(uri, ask_pin)
        with _turn, _converted(uri, Reason.KEY_UNREADABLE):
            token = pkcs11.lib(str(uri.module)).get_token(
                token_label=uri.token or None,
                token_serial=uri.serial.encode() or None,
            )
            try:
                session = token.open(user_pin=pin)
            except UserAlreadyLoggedIn:
                session = token.open()
        return cls(uri, session)

    @property
    def public(self) -> PublicKey:
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Return a signature in the form of `PublicKey.verify`. Raises
        SealgateError(KEY_UNAVAILABLE).
        """
        with _turn, _converted(self._uri, Reason.KEY_UNAVAILABLE):
            if self._key.key_type == pkcs11.KeyType.EC_EDWARDS:
                return bytes(self._key.sign(message, mechanism=pkcs11.Mechanism.EDDSA))
            digest = hashlib.sha256(message).digest()
            pair = bytes(self._key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
        r, s = int.from_bytes(pair[:_HALF]), int.from_bytes(pair[_HALF:])
        return encode_dss_signature(r, s)


def _pin(uri: KeyUri, ask: Callable[[str], str] | None) -> str:
    if uri.pin_source is not None:
        try:
            return read_private_file(uri.pin_source).decode().strip()
        except UnicodeDecodeError:
            raise SealgateError(Reason.KEY_UNREADABLE, f"{uri.pin_source} holds no PIN") from None
    if ask is None:
        raise SealgateError(Reason.KEY_UNREADABLE, f"{uri} needs pin-source=file:/… for its PIN")
    return ask(str(uri))


def _find(session: Any, uri: KeyUri, kind: pkcs11.ObjectClass) -> Any:
    return session.get_key(object_class=kind, label=uri.object or None, id=uri.id or None)


def _public_key(key: Any) -> PublicKey:
    point = bytes(key[pkcs11.Attribute.EC_POINT])
    if point[0] == _OCTET_STRING and len(point) == point[1] + 2:
        point = point[2:]
    if key.key_type == pkcs11.KeyType.EC_EDWARDS:
        return PublicKey.from_raw(point)
    curve_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    pem = curve_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey.from_pem(pem.decode("ascii"))


@contextmanager
def _converted(uri: KeyUri, reason: Reason) -> Iterator[None]:
    try:
        yield
    except (PKCS11Error, RuntimeError, ValueError) as error:
        # Their texts name no PIN.
        raise SealgateError(reason, f"{uri}: {type(error).__name__} {error}".rstrip()) from error
