"""The common form of signed statements: validated fields, canonical JSON, passkeys' signatures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import fields as members
from typing import Any, ClassVar, Self

from sealgate.reasons import Reason
from sealgate.trust import canonical, dsse, fields
from sealgate.trust.canonical import check_digest, sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.fields import check_name
from sealgate.trust.keys import webauthn
from sealgate.trust.keys.webauthn import Assertion
from sealgate.trust.times import parse_time

Check = Callable[[Any], Any]

_LONGEST_SENTENCE = 500


@dataclass(frozen=True, slots=True)
class Statement:
    """A document of its own `TYPE`, signed as a DSSE payload of its own `PAYLOAD_TYPE`.

    `CHECKS` has one check for each field; `AUTHOR` is the field that names who must have signed.
    `OPTIONAL` are the fields that came later, with the values for which they are left out, so that
    documents from before keep their bytes.
    Raises SealgateError(DOCUMENT_MALFORMED) for a field that is not of its form.
    """

    TYPE: ClassVar[str] = ""
    PAYLOAD_TYPE: ClassVar[str] = ""
    AUTHOR: ClassVar[str] = ""
    CHECKS: ClassVar[Mapping[str, Check]] = {}
    OPTIONAL: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        for name, check in self.CHECKS.items():
            check(getattr(self, name))

    @property
    def author(self) -> str:
        """The name of the principal who must have signed; empty if the statement names none."""
        return getattr(self, self.AUTHOR) if self.AUTHOR else ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value, with its type."""
        values = {member.name: getattr(self, member.name) for member in members(self)}
        left_out = {name for name, value in self.OPTIONAL.items() if values[name] == value}
        return {"type": self.TYPE, **{n: v for n, v in values.items() if n not in left_out}}

    def encode(self) -> bytes:
        """Return the canonical JSON, which is what is signed."""
        return canonical.encode(self.to_json())

    @property
    def payload_digest(self) -> str:
        """The digest by which other documents refer to this one."""
        return sha256(self.encode())

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read what `encode` writes. Raises SealgateError(DOCUMENT_MALFORMED)."""
        document = fields.mapping(canonical.decode(payload))
        names = [m.name for m in members(cls) if m.name not in cls.OPTIONAL or m.name in document]
        record = fields.record(document, names, cls.TYPE)
        if any(name in record and record[name] == value for name, value in cls.OPTIONAL.items()):
            raise fields.malformed("a field is there that says nothing")
        return cls(**cls._members({name: record[name] for name in names}))

    @classmethod
    def _members(cls, record: dict[str, Any]) -> dict[str, Any]:
        """Turn JSON values into what the fields hold; overridden where they differ."""
        return record


def name(value: Any) -> str:
    """Check the name of a model, an alias, a principal or a kind of evidence."""
    return check_name(value, Reason.DOCUMENT_MALFORMED)


def positive(value: Any) -> int:
    """Check a whole number of at least 1."""
    return fields.integer(value, least=1)


def time(value: Any) -> str:
    """Check a time as text, to the second."""
    parse_time(value)
    return str(value)


def sentence(value: Any) -> str:
    """Check a person's words: printable, not blank, at most 500 characters."""
    if not fields.text(value, _LONGEST_SENTENCE).strip() or not value.isprintable():
        raise fields.malformed("words of a person are expected")
    return str(value)


def sorted_digests(value: Any) -> tuple[str, ...]:
    """Check a tuple of digests, sorted, none twice."""
    digests = fields.unique([check_digest(item) for item in value])
    if list(digests) != sorted(digests):
        raise fields.malformed("digests are not sorted")
    return digests


def digest_or_none(value: Any) -> str:
    """Check a digest; empty text means none."""
    return check_digest(value) if value != "" else ""


def one_of(*choices: str) -> Check:
    """Return the check that text is one of `choices`."""

    def check(value: Any) -> str:
        if value not in choices:
            raise fields.malformed(f"one of {choices} is expected")
        return str(value)

    return check


def evidence_pairs(value: Any) -> None:
    """Check pairs of kind and digest: sorted, no kind twice."""
    for kind, digest in value:
        name(kind), check_digest(digest)
    _sorted_by_first(value)


def pointer_states(value: Any) -> None:
    """Check triples of `model/alias`, sequence and digest: sorted, no alias twice."""
    for place, sequence, digest in value:
        model, _, alias = fields.text(place).partition("/")
        name(model), name(alias), positive(sequence), check_digest(digest)
    _sorted_by_first(value)


def _sorted_by_first(value: Any) -> None:
    firsts = fields.unique([item[0] for item in value])
    if list(firsts) != sorted(firsts):
        raise fields.malformed("a list is not sorted")


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
