"""Strict reading of fields of a decoded JSON document, and the form of names.

Each function returns its argument with a type, or raises SealgateError(DOCUMENT_MALFORMED).
"""

import base64
import binascii
import re
from collections.abc import Collection, Sequence
from typing import Any

from sealgate.reasons import Reason, SealgateError


def record(value: Any, names: Collection[str], kind: str = "") -> dict[str, Any]:
    """Return `value` if it is an object with exactly these names.

    With `kind`, the object also has a `type` of that text.
    """
    expected = {*names, "type"} if kind else set(names)
    if not isinstance(value, dict) or value.keys() != expected:
        raise malformed(f"an object must have exactly the fields {sorted(expected)}")
    if kind and value["type"] != kind:
        raise malformed(f"the document is not a {kind}")
    return value


def mapping(value: Any) -> dict[str, Any]:
    """Return `value` if it is an object, of whatever names."""
    if not isinstance(value, dict):
        raise malformed("an object is expected")
    return value


def items(value: Any) -> list[Any]:
    """Return `value` if it is a list."""
    if not isinstance(value, list):
        raise malformed("a list is expected")
    return value


def text(value: Any, longest: int = 4096) -> str:
    """Return `value` if it is text of at most `longest` characters."""
    if not isinstance(value, str) or len(value) > longest:
        raise malformed(f"text of at most {longest} characters is expected")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """Return a list of text as a tuple."""
    return tuple(text(item) for item in items(value))


def integer(value: Any, least: int = 0) -> int:
    """Return `value` if it is a whole number (not a bool) of at least `least`, below 2**53."""
    if type(value) is not int or not least <= value < 2**53:
        raise malformed(f"a whole number of at least {least} is expected")
    return value


def unique(values: Sequence[str]) -> tuple[str, ...]:
    """Return the values as a tuple if none occurs twice."""
    if len(set(values)) != len(values):
        raise malformed("a list names something twice")
    return tuple(values)


def unique_members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON whose names are unique, as readers differ in which of two they take:
    an `object_pairs_hook`. Raises ValueError.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names something twice")
    return found


def base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 4648, 5), as JWTs and WebAuthn have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unbase64(value: Any) -> bytes:
    """Return the bytes of standard base64 with padding, in its only spelling."""
    try:
        data = base64.b64decode(text(value, 1 << 24), validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed("not base64") from error
    if base64.b64encode(data).decode("ascii") != value:
        raise malformed("base64 in another spelling")
    return data


def unhex(value: Any, size: int) -> bytes:
    """Return the `size` bytes that 2 * `size` lower-case hexadecimal digits stand for."""
    if isinstance(value, str) and len(value) == 2 * size and value.isascii():
        try:
            data = bytes.fromhex(value)
        except ValueError:
            data = b""
        if data.hex() == value:
            return data
    raise malformed(f"{2 * size} hexadecimal digits are expected")


def malformed(detail: str) -> SealgateError:
    """Return the refusal of a document."""
    return SealgateError(Reason.DOCUMENT_MALFORMED, detail)


SPIFFE_ID = r"(?=.{1,2048}$)spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+"
"""A workload's SPIFFE ID: a trust domain and a path of plain segments, none of them `.` or `..`."""

VERSION_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
"""How requests and answers write the number of a version."""

_FORM = re.compile(r"[a-z][a-z0-9-]{0,62}")


def check_name(text: str, reason: Reason = Reason.NAME_MALFORMED) -> str:
    """Return `text` if it is a name. Raises SealgateError(reason)."""
    if not isinstance(text, str) or not _FORM.fullmatch(text):
        raise SealgateError(reason, "a name is not of the form [a-z][a-z0-9-]{0,62}")
    return text


def version_number(text: str) -> int:
    """Return the number of a version. Raises SealgateError(VERSION_MALFORMED)."""
    if not VERSION_NUMBER.fullmatch(text):
        raise SealgateError(Reason.VERSION_MALFORMED)
    return int(text)
