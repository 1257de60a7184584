"""A subject's pseudonym in the log that tells of its erasure: a slow, salted hash of its name.

Whoever knows the name can see that it was erased; whoever does not has to try each name that it
might be, at 16 MiB and tens of milliseconds a try (scrypt, RFC 7914, N = 2^14, r = 8, p = 1).
"""

import hashlib
import hmac
import re

SALT_BYTES = 16
_HASH_BYTES = 32
_FORM = re.compile(r"scrypt:([0-9a-f]{32}):([0-9a-f]{64})")


def pseudonym(name: str, salt: bytes) -> str:
    """Return `scrypt:<salt>:<hash>` in hexadecimal. `salt` is 16 random bytes."""
    if len(salt) != SALT_BYTES:
        raise ValueError("a salt has 16 bytes")
    hashed = hashlib.scrypt(name.encode("utf-8"), salt=salt, n=2**14, r=8, p=1, dklen=_HASH_BYTES)
    return f"scrypt:{salt.hex()}:{hashed.hex()}"


def is_pseudonym(text: str, name: str) -> bool:
    """Say whether `text` is a pseudonym of that name."""
    found = _FORM.fullmatch(text)
    return found is not None and hmac.compare_digest(pseudonym(name, bytes.fromhex(found[1])), text)
