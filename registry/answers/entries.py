"""Makes the entries of a burst: salts, leaves, leaf hashes, encrypted openings and receipts.

The native package (`sealgate_front.Entries`) makes a whole burst in one call without the
interpreter's lock; `PythonEntries` is used where it is not installed, and is what it is tested
against. Both make the same bytes.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from registry.answers.encryption import IV_BYTES, KEY_BYTES, Opening, padded
from sealgate.trust.receipts import answer_entry, encode_caller_receipt
from sealgate.trust.receipts.answer_entry import FIELDS
from sealgate.trust.transparency.merkle import leaf_hash


class Entries(Protocol):
    """Entries of the newest format, in the order of the openings that they were made of.

    `sealed` are the encrypted openings.
    """

    @property
    def leaves(self) -> Sequence[bytes]: ...

    @property
    def hashes(self) -> Sequence[bytes]: ...

    @property
    def sealed(self) -> Sequence[bytes]: ...

    def salts(self, at: int) -> bytes:
        """The salts of entry number `at`, one behind the other."""
        ...

    def receipt(self, at: int, index: int, path: str, tail: str) -> bytes:
        """The caller's receipt of entry number `at`, once it is at `index` of the log. For `path`
        and `tail` see `encode_caller_receipt`.
        """
        ...


class PythonEntries:
    """Entries made one after the other. `keys` encrypt the openings: 32 bytes of AES-256 and a
    key's id of 8 bytes. `ivs` are 12 random bytes for each.

    Raises an exception where an opening cannot be that of an entry, whichever it is.
    """

    def __init__(self, openings: Sequence[Opening], keys: Sequence[bytes], ivs: bytes) -> None:
        self._openings = openings
        self._salts = [answer_entry.salts(each.key, each.nonce) for each in openings]
        for each in openings:
            if len(each.fields) != len(FIELDS):
                raise ValueError("not the values of an entry")
        self.leaves = [
            answer_entry.leaf(each.fields, salts)
            for each, salts in zip(openings, self._salts, strict=True)
        ]
        self.hashes = list(map(leaf_hash, self.leaves))
        # Most entries of a burst have one key between them.
        ciphers = {key: AESGCM(key[:KEY_BYTES]) for key in set(keys)}
        self.sealed = []
        for at, (opening, key, leaf) in enumerate(zip(openings, keys, self.leaves, strict=True)):
            iv = ivs[at * IV_BYTES : (at + 1) * IV_BYTES]
            sealed = ciphers[key].encrypt(iv, padded(opening), leaf)
            self.sealed.append(key[KEY_BYTES:] + iv + sealed)

    def salts(self, at: int) -> bytes:
        return b"".join(self._salts[at])

    def receipt(self, at: int, index: int, path: str, tail: str) -> bytes:
        values = self._openings[at].fields
        return encode_caller_receipt(self.leaves[at], values, self._salts[at], index, path, tail)


EntryMaker = Callable[[Sequence[Opening], Sequence[bytes], bytes], Entries]


def entry_maker() -> EntryMaker:
    """The fastest that is installed."""
    try:
        from sealgate_front import Entries as NativeEntries
    except ImportError:
        return PythonEntries
    return NativeEntries
