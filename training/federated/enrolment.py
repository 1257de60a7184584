"""Enrolment of clients on other machines: each one-time token admits the key of one client.

The server writes one invitation for each client: where it listens, the authority that vouches for
its certificate, the recipe, the shape of rows, and a token of 256 random bits, of which the server
keeps the SHA-256 alone. The client makes a P-384 key for the run, which never leaves its process,
and signs with it what it agrees to: this recipe, at this server, by this token. Flower then admits
requests that this key signed. The signed statements stay in the run's provenance.

`EnrolmentBook.enrol` checks, in this order:

1. The token is one of those issued (ENROLMENT_TOKEN), compared in constant time.
2. It has not expired (ENROLMENT_EXPIRED).
3. It was not used by another key (ENROLMENT_USED). The same key may ask again: its answer may have
   been lost.
4. The key is P-384, no other token admitted it, and it signed the statement (ENROLMENT_KEY).
5. The recipe is the server's (ENROLMENT_RECIPE).

A request that fails uses no token up.
"""

import base64
import hmac
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import check_digest, sha256
from sealgate.trust.times import format_time, parse_time

LARGEST_REQUEST = 1 << 13
_TOKEN_BYTES = 32
_REQUEST = "sealgate.federated-enrolment/v1"
_STATEMENT = "sealgate.federated-consent/v1"
_INVITATION = "sealgate.federated-invitation/v1"
_LARGEST_INVITATION = 1 << 20


def new_token() -> str:
    return secrets.token_urlsafe(_TOKEN_BYTES)


def digest_of(token: str) -> str:
    """The digest by which the server keeps a token, and evidence names it."""
    return sha256(token.encode("utf-8", "surrogatepass"))


def weights_digest(weights: npt.NDArray[np.float32]) -> str:
    """Of weights [n], as little-endian bytes: by it server, clients and evidence name a result."""
    return sha256(np.ascontiguousarray(weights, "<f4").tobytes())


@dataclass(frozen=True, slots=True)
class RowShape:
    """The form of each client's rows: of shape `row`, from `least` to `most`, of `classes`."""

    row: tuple[int, ...]
    classes: int
    least: float
    most: float

    def encode(self) -> dict[str, Any]:
        return {
            "row": list(self.row),
            "classes": self.classes,
            "least": self.least,
            "most": self.most,
        }

    @classmethod
    def decode(cls, value: Any) -> Self:
        """Raises SealgateError(DOCUMENT_MALFORMED)."""
        told = fields.record(value, ("row", "classes", "least", "most"))
        row = tuple(fields.integer(size, 1) for size in fields.items(told["row"]))
        least, most = _bound(told["least"]), _bound(told["most"])
        return cls(row, fields.integer(told["classes"], 2), least, most)


def _bound(value: Any) -> float:
    if type(value) not in (int, float):
        raise fields.malformed("a bound is a number")
    return float(value)


@dataclass(frozen=True, slots=True)
class FederationInvitation:
    """An invitation for one client, as a file that must stay secret until it has enrolled.

    `server` is host:port, `authority` a certificate (PEM) and `recipe` the file's text.
    """

    server: str
    authority: str
    token: str
    recipe: str
    rows: RowShape
    until: datetime

    def encode(self) -> bytes:
        document = {
            "type": _INVITATION,
            "server": self.server,
            "authority": self.authority,
            "token": self.token,
            "recipe": self.recipe,
            "rows": self.rows.encode(),
            "until": format_time(self.until),
        }
        return canonical.encode(document)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises SealgateError(DOCUMENT_MALFORMED)."""
        names = ("server", "authority", "token", "recipe", "rows", "until")
        told = fields.record(canonical.decode(data.strip()), names, kind=_INVITATION)
        return cls(
            server=fields.text(told["server"]),
            authority=fields.text(told["authority"], _LARGEST_INVITATION),
            token=fields.text(told["token"]),
            recipe=fields.text(told["recipe"], _LARGEST_INVITATION),
            rows=RowShape.decode(told["rows"]),
            until=parse_time(fields.text(told["until"])),
        )

    def request(self, key: ec.EllipticCurvePrivateKey) -> bytes:
        """The body by which the client of this P-384 key enrols."""
        recipe, public = sha256(self.recipe.encode()), public_pem(key)
        server = sha256(self.authority.encode())
        statement = consent_statement(public, digest_of(self.token), recipe, server)
        document = {
            "type": _REQUEST,
            "token": self.token,
            "key": public,
            "recipe": recipe,
            "signature": base64.b64encode(key.sign(statement, _ECDSA)).decode(),
        }
        return canonical.encode(document)


_ECDSA = ec.ECDSA(hashes.SHA384())


def new_key() -> ec.EllipticCurvePrivateKey:
    """A client's key, as Flower's node authentication takes it."""
    return ec.generate_private_key(ec.SECP384R1())


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form).decode()


def consent_statement(key: str, token: str, recipe: str, server: str) -> bytes:
    """The statement that a client signs: `key` is PEM, the others are digests, `server` that of its
    authority.
    """
    document = {
        "type": _STATEMENT,
        "key": key,
        "token": token,
        "recipe": recipe,
        "server": server,
    }
    return canonical.encode(document)


@dataclass(frozen=True, slots=True)
class EnrolledClient:
    """One participant, as evidence: its key (PEM), its token's digest, and its signature (base64)
    over `consent_statement`.
    """

    key: str
    token: str
    signature: str

    def encode(self) -> dict[str, str]:
        return {"key": self.key, "token": self.token, "signature": self.signature}

    @classmethod
    def decode(cls, value: Any) -> Self:
        """Raises SealgateError(DOCUMENT_MALFORMED)."""
        told = fields.record(value, ("key", "token", "signature"))
        signature = fields.text(told["signature"])
        return cls(fields.text(told["key"]), check_digest(told["token"]), signature)

    def verify(self, recipe: str, server: str) -> None:
        """Raises SealgateError(ENROLMENT_KEY) unless its key signed for this recipe and server."""
        try:
            public = load_pem_public_key(self.key.encode("utf-8", "surrogatepass"))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise _key("not a key") from error
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise _key("not an elliptic curve's key")
        if not isinstance(public.curve, ec.SECP384R1):
            raise _key(f"a key of {public.curve.name}")
        form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if public.public_bytes(*form).decode() != self.key:
            raise _key("a key in another spelling")
        statement = consent_statement(self.key, self.token, recipe, server)
        try:
            public.verify(fields.unbase64(self.signature), statement, _ECDSA)
        except InvalidSignature as error:
            raise _key("the key did not sign this enrolment") from error


class EnrolmentBook:
    """The enrolled clients, in order. `tokens` are digests, good before `until`; `recipe` and
    `server` are what clients must have signed for. For several threads.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        until: datetime,
        recipe: str,
        server: str,
        now: Callable[[], datetime],
    ) -> None:
        self._tokens, self._until, self._now = tuple(tokens), until, now
        self._recipe, self._server = recipe, server
        self._places: dict[str, int] = {}
        self._enrolled: list[EnrolledClient] = []
        self._mutex = threading.Lock()

    @property
    def enrolled(self) -> tuple[EnrolledClient, ...]:
        with self._mutex:
            return tuple(self._enrolled)

    @property
    def closed(self) -> bool:
        """Whether nobody can enrol any more."""
        return self._now() >= self._until or len(self.enrolled) == len(self._tokens)

    def enrol(self, body: bytes, admit: Callable[[EnrolledClient], None]) -> int:
        """The client's place, from 0. `admit` is called once for each, before it has a place.

        Raises SealgateError: MESSAGE_TOO_LARGE, DOCUMENT_MALFORMED, and as the module says.
        """
        if len(body) > LARGEST_REQUEST:
            raise SealgateError(Reason.MESSAGE_TOO_LARGE, "an enrolment")
        names = ("token", "key", "recipe", "signature")
        told = fields.record(canonical.decode(body), names, kind=_REQUEST)
        texts = {name: fields.text(told[name]) for name in names}
        client = EnrolledClient(texts["key"], digest_of(texts["token"]), texts["signature"])
        with self._mutex:
            return self._place(client, texts["recipe"], admit)

    def _place(
        self, client: EnrolledClient, recipe: str, admit: Callable[[EnrolledClient], None]
    ) -> int:
        # 1. All are compared, so that the time tells nothing.
        found = [hmac.compare_digest(token, client.token) for token in self._tokens]
        if not any(found):
            raise SealgateError(Reason.ENROLMENT_TOKEN)
        # 2.
        if self._now() >= self._until:
            raise SealgateError(Reason.ENROLMENT_EXPIRED, format_time(self._until))
        # 3.
        place = self._places.get(client.token)
        if place is not None and self._enrolled[place].key != client.key:
            raise SealgateError(Reason.ENROLMENT_USED)
        # 4.
        if place is None and client.key in {other.key for other in self._enrolled}:
            raise _key("the key has enrolled by another token")
        client.verify(recipe, self._server)
        # 5.
        if recipe != self._recipe:
            raise SealgateError(Reason.ENROLMENT_RECIPE, recipe)
        if place is None:
            admit(client)
            place = self._places[client.token] = len(self._enrolled)
            self._enrolled.append(client)
        return place


def _key(detail: str) -> SealgateError:
    return SealgateError(Reason.ENROLMENT_KEY, detail)
