"""SHA-256 digests as documents write them: `sha256:` and 64 lower-case hexadecimal digits."""

import hashlib
import re

from sealgate.reasons import Reason, Refusal

_PREFIX = "sha256:"
_FORM = re.compile(r"sha256:[0-9a-f]{64}")


def sha256(data: bytes) -> str:
    """Return the digest of `data` as text."""
    return _PREFIX + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether `text` is a digest in its fixed form."""
    return _FORM.fullmatch(text) is not None


def check_digest(text: str) -> str:
    """Return `text` if it is a digest in its fixed form. Raises Refusal(DOCUMENT_MALFORMED)."""
    if not isinstance(text, str) or not _FORM.fullmatch(text):
        raise Refusal(Reason.DOCUMENT_MALFORMED, "a digest is not in its fixed form")
    return text


def raw(text: str) -> bytes:
    """Return the 32 bytes of a digest. Raises Refusal(DOCUMENT_MALFORMED)."""
    return bytes.fromhex(check_digest(text)[len(_PREFIX) :])
