"""Requests' bodies that are compressed: unpacked no further than a message may be large."""

import zlib
from typing import TypeAlias

from sealgate.reasons import Reason, Refusal

# What zlib calls the two forms: with gzip's header, and with its own, which HTTP calls deflate.
_FORMS = {"gzip": 31, "deflate": 15}

Body: TypeAlias = bytes | bytearray


def unpacked(body: Body, encoding: str | None, largest: int) -> Body:
    """The body as it was before it was compressed, `largest` bytes at most.

    Raises: MESSAGE_TOO_LARGE, as soon as it has grown beyond; MESSAGE_MALFORMED for another
    encoding, or what is cut short or goes on behind its end.
    """
    if encoding is None or encoding.lower() == "identity":
        return body
    form = _FORMS.get(encoding.lower())
    if form is None:
        raise Refusal(Reason.MESSAGE_MALFORMED, "content-encoding")
    unpacker = zlib.decompressobj(form)
    try:
        # One more than it may be, to see that it is more.
        plain = unpacker.decompress(body, largest + 1)
    except zlib.error as error:
        raise Refusal(Reason.MESSAGE_MALFORMED, f"{encoding}: {error}") from error
    if len(plain) > largest:
        raise Refusal(Reason.MESSAGE_TOO_LARGE, f"{encoding} of {len(body)} bytes unfolds")
    if not unpacker.eof or unpacker.unused_data:
        raise Refusal(Reason.MESSAGE_MALFORMED, f"{encoding} is cut short or goes on")
    return plain
