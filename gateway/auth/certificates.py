"""Reads a verified client certificate, and checks tokens that are bound to one (RFC 8705).

A program that calls with other people's credentials, such as the web console, exchanges a passkey's
assertion or an issuer's token for a short-lived token that the gateways issue. It is `sgt_` and a
JWT, signed by HMAC under a key that all gateways of a registry derive from `[api_keys] mac_key`;
its `cnf` holds the thumbprint of the certificate with which alone it is good. It says how its owner
was known: where the policy no longer lists that passkey or identity as the owner's, it is refused
at once.

A challenge is 16 random bytes, its end (8 bytes, seconds of the epoch), and an HMAC over both and
the certificate's thumbprint. It needs no state, but each gateway takes each challenge once.
"""

import hashlib
import hmac
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import grpc
import jwt

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import read_private_file
from sealgate.trust.keys.certificate_identity import (
    CertificateValidity,
    certificate_identity,
    certificate_validity,
    thumbprint,
)
from sealgate.trust.policy import Policy, Principal

_METHOD = "x5t#S256"
PREFIX = "sgt_"
LIFETIME = timedelta(hours=1)
CHALLENGE_LIFETIME = timedelta(minutes=2)
PASSKEY, IDENTITY = "sealgate_passkey", "sealgate_identity"

_ISSUER = "sealgate"
_OPTIONS: Any = {"require": ["exp", "sub", "cnf"], "verify_exp": False, "verify_iat": False}
_ALGORITHM = "HS256"
_LONGEST = 4096
_NONCE, _TIME = 16, 8
_CHALLENGE = _NONCE + _TIME + hashlib.sha256().digest_size
_MAC_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The thumbprint of the certificate to which a token is bound."""

    thumbprint: str

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> "Confirmation | None":
        """The token's `cnf` claim, if it has one.

        Raises: TOKEN_BINDING where it binds the token in a way that cannot be checked here: such
        a token is no bearer token.
        """
        if "cnf" not in claims:
            return None
        confirmation = claims["cnf"]
        if not isinstance(confirmation, dict) or set(confirmation) != {_METHOD}:
            raise SealgateError(Reason.TOKEN_BINDING, "bound by another method")
        value = confirmation[_METHOD]
        if not isinstance(value, str) or not value.isascii():
            raise SealgateError(Reason.TOKEN_BINDING, "not a thumbprint")
        return cls(value)

    def check(self, shown: str | None) -> None:
        """Raises: TOKEN_BINDING without a certificate, or with another one."""
        if shown is None or not hmac.compare_digest(self.thumbprint, shown):
            raise SealgateError(Reason.TOKEN_BINDING)


# The one property of gRPC's that is looked at: it ends its texts of names at a NUL byte.
PEM_PROPERTY = "x509_pem_cert"
_KEPT = 256


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The identity that a certificate proves, if it names any, its text (PEM), and when it holds.

    The handshake has verified the certificate, and a connection may outlast it.
    """

    identity: str | None
    pem: str
    validity: CertificateValidity

    @classmethod
    def of(cls, context: grpc.ServicerContext, now: datetime) -> "ClientCertificate | None":
        """The certificate of a call, if it came with one. It must be valid at `now`.

        One with a SPIFFE ID is known by that alone: its holder may have chosen the rest. Raises:
        CREDENTIAL_AMBIGUOUS, CERTIFICATE_MALFORMED (`certificate_identity`), CERTIFICATE_EXPIRED.
        """
        properties: Any = context.auth_context()
        shown = properties.get(PEM_PROPERTY)
        if not shown:
            return None
        if len(shown) > 1:
            raise SealgateError(Reason.CREDENTIAL_AMBIGUOUS, "several certificates")
        certificate = _read(bytes(shown[0]))
        certificate.validity.check(now)
        return certificate

    def thumbprint(self) -> str:
        """See `sealgate.trust.keys.certificate_identity`."""
        return thumbprint(self.pem)


@lru_cache(_KEPT)
def _read(pem: bytes) -> ClientCertificate:
    """Raises like `certificate_identity`; what was refused is read again each time."""
    try:
        text = pem.decode("ascii")
        der = ssl.PEM_cert_to_DER_cert(text)
    except ValueError as error:
        raise SealgateError(Reason.CERTIFICATE_MALFORMED, "not PEM") from error
    return ClientCertificate(certificate_identity(der), text, certificate_validity(der))


@dataclass(frozen=True, slots=True)
class BoundToken:
    """A token that was issued just now. `text` is for its holder alone."""

    principal: str
    expires: datetime
    text: str = field(repr=False)


class BoundTokens:
    """Makes challenges and tokens, and knows them again. `clock` is aware UTC."""

    MOST_USED: ClassVar[int] = 10_000

    def __init__(self, mac_key: bytes, clock: Callable[[], datetime]) -> None:
        if len(mac_key) < _MAC_KEY_BYTES:
            raise ValueError("the key for bound tokens is shorter than 32 bytes")
        self._token_key = hmac.digest(mac_key, b"sealgate/bound-token/v1", "sha256")
        self._challenge_key = hmac.digest(mac_key, b"sealgate/login-challenge/v1", "sha256")
        self._clock = clock
        self._lock = threading.Lock()
        self._used: dict[bytes, datetime] = {}

    @classmethod
    def from_file(cls, path: Path, clock: Callable[[], datetime]) -> Self:
        """Raises SealgateError: KEY_FILE_EXPOSED, KEY_UNREADABLE."""
        try:
            return cls(read_private_file(path), clock)
        except ValueError as error:
            raise SealgateError(Reason.KEY_UNREADABLE, f"{path}: {error}") from error

    def challenge(self, certificate: ClientCertificate) -> tuple[bytes, datetime]:
        """A challenge for the holder of a certificate, and its end."""
        end = (self._clock() + CHALLENGE_LIFETIME).replace(microsecond=0)
        head = secrets.token_bytes(_NONCE) + int(end.timestamp()).to_bytes(_TIME)
        return head + self._mac(head, certificate), end

    def take_challenge(self, challenge: bytes, certificate: ClientCertificate) -> None:
        """Check that a challenge was made here for this certificate, has not ended, and is new; it
        is not taken again. Raises SealgateError(LOGIN_CHALLENGE).
        """
        head, mac = challenge[: _NONCE + _TIME], challenge[_NONCE + _TIME :]
        known = len(challenge) == _CHALLENGE
        if not known or not hmac.compare_digest(mac, self._mac(head, certificate)):
            raise SealgateError(Reason.LOGIN_CHALLENGE, "not made here for this certificate")
        end = datetime.fromtimestamp(int.from_bytes(head[_NONCE:]), UTC)
        now = self._clock()
        if now >= end:
            raise SealgateError(Reason.LOGIN_CHALLENGE, "it has ended")
        with self._lock:
            self._used = {nonce: until for nonce, until in self._used.items() if until > now}
            if head in self._used or len(self._used) >= self.MOST_USED:
                raise SealgateError(Reason.LOGIN_CHALLENGE, "it was used")
            self._used[head] = end

    def issue(
        self, principal: str, how: tuple[str, str], certificate: ClientCertificate, until: datetime
    ) -> BoundToken:
        """A token for a principal, known by `how` (PASSKEY and a key id, or IDENTITY and an
        identity), good until `until` or for LIFETIME, whichever ends first.
        """
        now = self._clock()
        expires = min(until, now + LIFETIME).replace(microsecond=0)
        claims = {
            "iss": _ISSUER,
            "sub": principal,
            "iat": now,
            "exp": expires,
            "cnf": {"x5t#S256": certificate.thumbprint()},
            how[0]: how[1],
        }
        text = PREFIX + jwt.encode(claims, self._token_key, algorithm=_ALGORITHM)
        return BoundToken(principal, expires, text)

    def principal(
        self, text: str, certificate: ClientCertificate | None, policy: Policy
    ) -> Principal:
        """The principal of a token.

        1. It was issued here and has not expired (TOKEN_SIGNATURE, TOKEN_EXPIRED).
        2. It comes with the certificate to which it is bound (TOKEN_BINDING).
        3. The policy still knows its owner by what they showed (PRINCIPAL_UNKNOWN).
        """
        # 1.
        claims = self._claims(text)
        # 2.
        confirmation = Confirmation.of(claims)
        if confirmation is None:
            raise SealgateError(Reason.TOKEN_BINDING, "bound to nothing")
        confirmation.check(None if certificate is None else certificate.thumbprint())
        # 3.
        found = _owner(claims, policy)
        if found is None or found.name != claims["sub"]:
            raise SealgateError(Reason.PRINCIPAL_UNKNOWN)
        return found

    def _claims(self, text: str) -> dict[str, Any]:
        if len(text) > _LONGEST:
            raise SealgateError(Reason.TOKEN_MALFORMED, "too long")
        try:
            # Times are held against our own clock below.
            claims: dict[str, Any] = jwt.decode(
                text.removeprefix(PREFIX),
                self._token_key,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                options=_OPTIONS,
            )
        except jwt.PyJWTError as error:
            raise SealgateError(Reason.TOKEN_SIGNATURE, type(error).__name__) from error
        if self._clock().timestamp() >= claims["exp"]:
            raise SealgateError(Reason.TOKEN_EXPIRED)
        return claims

    def _mac(self, head: bytes, certificate: ClientCertificate) -> bytes:
        message = head + certificate.thumbprint().encode()
        return hmac.digest(self._challenge_key, message, "sha256")


def _owner(claims: dict[str, Any], policy: Policy) -> Principal | None:
    if PASSKEY in claims:
        keyid = claims[PASSKEY]
        return policy.holder(keyid) if keyid in policy.webauthn.keys else None
    return policy.by_identity(claims.get(IDENTITY, ""))
