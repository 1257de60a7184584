"""Canonical JSON (RFC 8785) and SHA-256 digests of it: the form of every signed document.

Numbers follow the RFC: an integral float is written without its point and reads back as an int,
and integers end at 2**53 - 1.
"""

import hashlib
import json
import re
from typing import Any

import rfc8785

from sealgate.reasons import Reason, SealgateError

MOST_VALUES = 1 << 18
"""Values in a document; those of a few bytes each take a hundred times as many in memory."""


def encode(value: Any) -> bytes:
    """Return the canonical bytes of a JSON value.

    Raises SealgateError(DOCUMENT_MALFORMED) for a value that RFC 8785 cannot express (NaN, a large
    integer, a lone surrogate, a key that is not text).
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, ValueError, RecursionError) as error:
        raise SealgateError(Reason.DOCUMENT_MALFORMED, f"not expressible: {error}") from error


def decode(data: bytes) -> Any:
    """Return the JSON value of `data`, if `data` is what `encode` would have written.

    Writing it again and comparing rules out repeated keys, other spellings of a number or a
    string, and anything before or after. Raises SealgateError(DOCUMENT_MALFORMED), also where there
    may be more than `MOST_VALUES`, and for what is not bytes, as a database's row may hold.
    """
    if not isinstance(data, bytes):
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "not bytes")
    # Each value but the first follows a bracket or a comma; those within texts count too.
    if sum(map(data.count, (b",", b"[", b"{"))) >= MOST_VALUES:
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "JSON of too many values")
    integers: list[str] = []
    fractions: list[str] = []

    def integer(text: str) -> int:
        integers.append(text)
        return int(text)

    def fraction(text: str) -> float:
        fractions.append(text)
        return float(text)

    try:
        text = data.decode("utf-8")
        value = json.loads(text, parse_int=integer, parse_float=fraction)
    except (ValueError, RecursionError) as error:
        raise SealgateError(
            Reason.DOCUMENT_MALFORMED, f"not JSON: {type(error).__name__}"
        ) from error
    is_plain = text.isascii() and _are_plain(integers, fractions)
    if not (is_plain and _write_plainly(value) == text) and encode(value) != data:
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "JSON, but not in its canonical form")
    return value


_LONGEST_INTEGER = 15
_PLAIN_FRACTION = re.compile("-?[0-9]+[.][0-9]*[1-9]")


def _are_plain(integers: list[str], fractions: list[str]) -> bool:
    """Whether `_write_plainly` writes these numbers of an ASCII text as RFC 8785 does, or not as
    the text.

    The two differ in integers beyond 2**53 - 1, in fractions with an exponent or a trailing zero,
    and, beyond ASCII, in the order of keys.
    """
    return all(len(each) <= _LONGEST_INTEGER for each in integers) and all(
        _PLAIN_FRACTION.fullmatch(each) for each in fractions
    )


def _write_plainly(value: Any) -> str:
    """Write a JSON value with Python's own writer, 20 times as fast as `encode`; empty text where
    it cannot.
    """
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
        )
    except (ValueError, RecursionError):
        return ""


_PREFIX = "sha256:"
_FORM = re.compile(r"sha256:[0-9a-f]{64}")


def sha256(data: bytes) -> str:
    """Return the digest of `data` as text."""
    return _PREFIX + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether `text` is a digest in its fixed form."""
    return _FORM.fullmatch(text) is not None


def check_digest(text: str) -> str:
    """Return `text` if it is a digest in its fixed form. Raises
    SealgateError(DOCUMENT_MALFORMED).
    """
    if not isinstance(text, str) or not _FORM.fullmatch(text):
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "a digest is not in its fixed form")
    return text


def raw(text: str) -> bytes:
    """Return the 32 bytes of a digest. Raises SealgateError(DOCUMENT_MALFORMED)."""
    return bytes.fromhex(check_digest(text)[len(_PREFIX) :])
