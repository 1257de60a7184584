"""An issuer's public keys (RFC 7517): which are accepted, and where the newest set is kept.

The algorithm follows from the key, never from a token (RFC 8725, section 3.1).
"""

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jwt

from sealgate.files import read_regular_file, stamps
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

# RFC 7518: a P-256 key signs ES256, an RSA key RS256; RFC 8037: an Ed25519 key signs EdDSA.
_ALGORITHM_OF_KEY = {
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
    ("RSA", None): "RS256",
}
ALGORITHMS = frozenset(_ALGORITHM_OF_KEY.values())
# Shorter keys can be broken; longer ones cost whoever has to verify.
_RSA_BITS = range(2048, 8192 + 1)
# A larger exponent would make each verification slow.
_RSA_EXPONENTS = range(3, 1 << 32)
_MOST_KEYS = 64
# Members of a JWK that are secret: of all private keys, and of a symmetric one.
_SECRET = frozenset({"d", "k"})


@dataclass(frozen=True, slots=True)
class KeySet:
    """The accepted keys of one issuer by `kid`. Two sets are the same only if they are one."""

    keys: Mapping[str, jwt.PyJWK]

    @classmethod
    def parse(cls, document: bytes, *, strict: bool) -> "KeySet":
        """Read a JWK set. Each key needs a `kid` of its own.

        `strict` refuses a set with any key that is not accepted; else such a key is passed over,
        for issuers publish keys of other purposes too. Raises SealgateError(KEY_SET_REFUSED) for
        that, for a set without an accepted key, with more than 64 keys, or with a secret.
        """
        try:
            entries = json.loads(document)["keys"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _refused("not a JWK set") from error
        if not isinstance(entries, list) or len(entries) > _MOST_KEYS:
            raise _refused("not a list of a few keys")
        keys: dict[str, jwt.PyJWK] = {}
        for entry in entries:
            if not isinstance(entry, dict) or not _SECRET.isdisjoint(entry):
                raise _refused("a key set holds public keys only")
            key = _accepted(entry)
            kid = entry.get("kid")
            if key is None or not isinstance(kid, str) or not kid:
                if strict:
                    raise _refused(
                        "each key must be a public P-256, Ed25519 or RSA key (2048 bits or more), "
                        "for signatures, with its own kid"
                    )
                continue
            if kid in keys:
                raise _refused("two keys have the same kid")
            keys[kid] = key
        if not keys:
            raise _refused("the key set has no key that is accepted")
        return cls(keys)


class KeySource(Protocol):
    """Where an issuer's newest keys are to be had."""

    def current(self) -> KeySet:
        """The newest set, without waiting. Raises: KEY_SET_UNREACHABLE, KEY_SET_REFUSED."""
        ...

    def find(self, kid: str) -> tuple[KeySet, jwt.PyJWK] | None:
        """The key of that id, with its set; may ask for a newer set first. Raises: as above."""
        ...

    def may_wait(self, kid: str) -> bool:
        """Whether `find` may wait for a newer set before it answers."""
        ...

    def start(self) -> None: ...

    def close(self) -> None: ...


class FileKeys:
    """The keys of a file, read again when it changes; what cannot be used changes nothing, which
    the log says once.
    """

    def __init__(self, path: Path) -> None:
        """Raises: ValueError for a set that is empty or holds a key that is not accepted."""
        self._path = path
        self._mutex = threading.Lock()
        self._stamps = stamps([path])
        self._key_set = self._read()

    def current(self) -> KeySet:
        found = stamps([self._path])
        if found != self._stamps:
            with self._mutex:
                if found != self._stamps:
                    self._stamps = found
                    self._renew()
        return self._key_set

    def find(self, kid: str) -> tuple[KeySet, jwt.PyJWK] | None:
        key_set = self.current()
        key = key_set.keys.get(kid)
        return None if key is None else (key_set, key)

    def may_wait(self, kid: str) -> bool:
        """A file is read at once."""
        return False

    def start(self) -> None:
        """There is nothing to start."""

    def close(self) -> None:
        """There is nothing to close."""

    def _read(self) -> KeySet:
        try:
            return KeySet.parse(read_regular_file(self._path), strict=True)
        except SealgateError as refusal:
            raise ValueError(f"{self._path}: {refusal.detail}") from refusal

    def _renew(self) -> None:
        try:
            self._key_set = self._read()
        except (OSError, ValueError) as error:
            _log.error("the keys that tokens are verified with stay: %s", error)
            return
        _log.info("tokens are verified with new keys: %s", ", ".join(sorted(self._key_set.keys)))


def _accepted(entry: Mapping[str, Any]) -> jwt.PyJWK | None:
    kind: Any = (entry.get("kty"), entry.get("crv"))
    try:
        algorithm = _ALGORITHM_OF_KEY.get(kind)
    except TypeError:
        # Not even text.
        return None
    operations = entry.get("key_ops", ["verify"])
    if (
        algorithm is None
        or entry.get("alg", algorithm) != algorithm
        or entry.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
    ):
        return None
    try:
        key = jwt.PyJWK(dict(entry), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if algorithm == "RS256":
        numbers = key.key.public_numbers()
        if key.key.key_size not in _RSA_BITS or numbers.e not in _RSA_EXPONENTS:
            return None
    return key


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.KEY_SET_REFUSED, detail)
