"""CBOR (RFC 8949) in one spelling: what is read is bounded, and written again to the same bytes.

Refused are indefinite lengths, numbers that are not in their shortest form, names that occur twice,
and tags. Only the order of a map's members is free, as COSE leaves it.
"""

from typing import Any, NoReturn

import cbor2

from sealgate.trust.fields import malformed

_DEEPEST = 8
LARGEST = 1 << 18


def encode(value: object) -> bytes:
    """Return deterministic CBOR (RFC 8949, 4.2)."""
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes, largest: int = LARGEST) -> Any:
    """Read one item. Raises SealgateError(DOCUMENT_MALFORMED)."""
    if len(data) > largest:
        raise malformed("CBOR: too long")
    try:
        value = cbor2.loads(
            data,
            max_depth=_DEEPEST,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_NO_TAGS,
        )
        again = cbor2.dumps(value)
    except cbor2.CBORError as error:
        raise malformed("CBOR: none, or a part that is not allowed") from error
    if again != data:
        raise malformed("CBOR: another spelling")
    return value


def _refuse(*_: object) -> NoReturn:
    raise ValueError("a tag")


class _Refusing(dict[int, Any]):
    """Refuses every tag: a decoder of dates, patterns or references is never reached."""

    def __contains__(self, tag: object) -> bool:
        return True

    def __getitem__(self, tag: int) -> Any:
        return _refuse

    def get(self, tag: int, default: object = None) -> Any:
        return _refuse


_NO_TAGS = _Refusing()
