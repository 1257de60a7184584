"""Signed notes and verifier keys (C2SP signed-note).

Only Ed25519 signatures (type 0x01) are made and checked. A line by another key, a witness's
say, is allowed and counts for nothing here.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.keys import ED25519, PublicKey, Signer

_ED25519 = b"\x01"
# Half a surrogate pair, which JSON can spell, is no character: UTF-8 has no form of it.
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f\u2014\ud800-\udfff]{1,255}")
_LINE = re.compile(r"\u2014 ([^\s+\ud800-\udfff]{1,255}) ([A-Za-z0-9+/]+=*)")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")
_MOST_SIGNATURES = 100


@dataclass(frozen=True, slots=True)
class Verifier:
    """A name with the key that signs under it; `hint` is the four bytes that stand for both."""

    name: str
    key: PublicKey
    hint: bytes

    @classmethod
    def from_vkey(cls, text: str) -> Self:
        """Read `name+hint+key`, split at the first two `+`. Raises
        SealgateError(DOCUMENT_MALFORMED).
        """
        name, raw = read_vkey(text, _ED25519)
        return cls(name, PublicKey.from_raw(raw), key_hint(name, _ED25519, raw))


def vkey(name: str, key: PublicKey) -> str:
    """Return the verifier key text of an Ed25519 key under a name.

    Raises SealgateError(DOCUMENT_MALFORMED) for a name with blanks or `+`, or for another kind of
    key.
    """
    return write_vkey(name, _ED25519, _raw(key))


def read_vkey(text: object, kind: bytes) -> tuple[str, bytes]:
    """Return the name and the raw key of a verifier key, `name+hint+base64(kind, key)`.

    `kind` is the byte of C2SP signed-note that says how the key signs. Raises
    SealgateError(DOCUMENT_MALFORMED) for a key of another kind, and for a hint that is not the
    key's.
    """
    name, _, encoded = (*fields.text(text).split("+", 2), "", "")[:3]
    data = fields.unbase64(encoded)
    if data[:1] != kind:
        raise fields.malformed(f"not a verifier key of signature type 0x{kind.hex()}")
    if write_vkey(name, kind, data[1:]) != text:
        raise fields.malformed("a verifier key whose hint is not its own")
    return name, data[1:]


def write_vkey(name: str, kind: bytes, raw: bytes) -> str:
    """Return what `read_vkey` reads. Raises SealgateError(DOCUMENT_MALFORMED) for a name that a
    note cannot have.
    """
    encoded = base64.b64encode(kind + raw).decode("ascii")
    return f"{name}+{key_hint(name, kind, raw).hex()}+{encoded}"


def key_hint(name: str, kind: bytes, raw: bytes) -> bytes:
    """Return the four bytes that stand for a name and its key in a note's signature line."""
    check_name(name)
    return hashlib.sha256(name.encode("utf-8") + b"\n" + kind + raw).digest()[:4]


def sign_note(text: str, name: str, signer: Signer) -> str:
    """Return the note: `text`, which must end in a newline, signed under `name`."""
    _check_text(text)
    return NoteSigner(name, signer).sign(text)


class NoteSigner:
    """Signs notes under one name. Raises SealgateError(DOCUMENT_MALFORMED) for a name that a note
    cannot have, and for another kind of key.
    """

    def __init__(self, name: str, signer: Signer) -> None:
        self._signer = signer
        self._hint = key_hint(name, _ED25519, _raw(signer.public))
        self._head = f"\n\u2014 {name} "

    def sign(self, text: str) -> str:
        """Return the note of a text that a note can have: it is not checked."""
        signature = self._hint + self._signer.sign(text.encode("utf-8"))
        return f"{text}{self._head}{base64.b64encode(signature).decode('ascii')}\n"


def open_note(note: str, verifiers: Iterable[Verifier]) -> str:
    """Return the text of a note that at least one of the verifiers has signed.

    Raises SealgateError: DOCUMENT_MALFORMED for what is not a note, or for two lines of one key;
    SIGNATURE_INVALID if a verifier's line does not verify, or if none has a line.
    """
    known = {(verifier.name, verifier.hint): verifier for verifier in verifiers}
    text, lines = split(note)
    seen = set()
    for line in lines:
        name, hint, signature = read_line(line)
        if (name, hint) in seen:
            raise fields.malformed("a note is signed twice with one key")
        seen.add((name, hint))
        if (name, hint) in known:
            known[name, hint].key.verify(signature, text.encode("utf-8"))
    if seen.isdisjoint(known):
        raise SealgateError(Reason.SIGNATURE_INVALID, "a note that no known key has signed")
    return text


def split(note: str) -> tuple[str, list[str]]:
    """Return a note's text and signature lines, unverified. Raises: DOCUMENT_MALFORMED."""
    head, separator, tail = note.rpartition("\n\n")
    text = head + "\n"
    _check_text(text)
    lines = tail.split("\n")
    if not separator or lines.pop() != "" or not 1 <= len(lines) <= _MOST_SIGNATURES:
        raise fields.malformed("not a signed note")
    return text, lines


def read_line(line: str) -> tuple[str, bytes, bytes]:
    """Return name, hint and signature of a line. Raises SealgateError(DOCUMENT_MALFORMED)."""
    match = _LINE.fullmatch(line)
    if not match:
        raise fields.malformed("a note's signature line is of another form")
    data = fields.unbase64(match[2])
    if len(data) < 5:
        raise fields.malformed("a note's signature is too short")
    return match[1], data[:4], data[4:]


def _check_text(text: str) -> None:
    if not text.endswith("\n") or _CONTROL.search(text):
        raise fields.malformed("a note's text does not end its line, or has control characters")


def check_name(name: str) -> str:
    """Return `name` if a key may have it. Raises SealgateError(DOCUMENT_MALFORMED)."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise fields.malformed("a note's name is empty or has characters that a name must not")
    return name


def _raw(key: PublicKey) -> bytes:
    if key.scheme != ED25519:
        raise fields.malformed("notes are signed with Ed25519 keys")
    return key.raw
