"""The watermark key of a model, its file, and the commitment of each mark.

One key serves all versions of a model; a mark is the key with a payload of its own. Both stay with
the publisher. Registry, gateway and engine see only commitments, which are logged before the marked
weights are made.

The code of a mark: pseudo-random chips for weights, and the error-correcting payload. HMAC-SHA256
under the secret turns a matrix's place into a 128-bit key for Philox-4x64-10 (Salmon et al., SC
2011), a counter-based generator whose raw stream numpy keeps stable across releases. Only the key's
holder knows the chips.

The payload is four bytes that name a version, sent as 64 signs. Reed-Solomon over GF(2^8)
(`reedsolo`) adds four bytes: two wrong bytes anywhere are corrected, or up to four if their places
are known; the reader knows doubtful places, since each bit has a strength.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from reedsolo import ReedSolomonError, RSCodec

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.fields import check_name
from sealgate.trust.keys import read_private_file, write_private_file

_CHIPS = b"sealgate/watermark-chips/v1\n"
_OFFSETS = b"sealgate/watermark-offsets/v1\n"

Signs = npt.NDArray[np.int8]


def chips(secret: bytes, model: str, shape: tuple[int, ...], ordinal: int) -> Signs:
    """Signs, +1 or -1, of the given shape for the `ordinal`-th matrix of that shape.

    The place is named by shape and order, not by the initializer's name: ONNX Runtime renames
    weights when it quantizes, and a thief would too.
    """
    count = int(np.prod(shape))
    words = chip_words(secret, model, shape, ordinal)
    bits = np.unpackbits(words.view(np.uint8), count=count, bitorder="little").view(np.int8)
    bits *= 2
    bits -= 1
    return bits.reshape(shape)


def chip_words(
    secret: bytes, model: str, shape: tuple[int, ...], ordinal: int
) -> npt.NDArray[np.uint64]:
    """The same signs as bits, the lowest of each word first; those of the last are not all used."""
    return _words(_CHIPS, secret, model, shape, ordinal, -(-int(np.prod(shape)) // 64))


def offsets(
    secret: bytes, model: str, shape: tuple[int, ...], ordinal: int, bits: int
) -> npt.NDArray[np.int64]:
    """Where the payload starts in each row [shape[0]] of that matrix: 0 to `bits` - 1.

    Each row holds the `bits` of the payload in turn, from a place of its own on: so no bit lies in
    one column alone, and lost neurons take a little of each.
    """
    words = _words(_OFFSETS, secret, model, shape, ordinal, shape[0])
    return (words % np.uint64(bits)).astype(np.int64)


def _words(
    domain: bytes, secret: bytes, model: str, shape: tuple[int, ...], ordinal: int, count: int
) -> npt.NDArray[np.uint64]:
    place = ",".join(map(str, shape)) + f"#{ordinal}"
    message = domain + bytes([len(model)]) + model.encode() + place.encode()
    digest = hmac.new(secret, message, hashlib.sha256).digest()
    generator = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    return generator.random_raw(count).astype("<u8", copy=False)


MARK_PAYLOAD_BYTES = 4
_PARITY = 4
PAYLOAD_BITS = 8 * (MARK_PAYLOAD_BYTES + _PARITY)
# Every erased byte costs one of parity; two are kept to find an error that nobody suspected.
_MOST_ERASED = 2
_CODEC = RSCodec(_PARITY)


def codeword(payload: bytes) -> Signs:
    """The signs [BITS] for a payload of SIZE bytes; Raises SealgateError(PARAMETER_MALFORMED)."""
    if len(payload) != MARK_PAYLOAD_BYTES:
        raise SealgateError(Reason.PARAMETER_MALFORMED, f"a payload of {len(payload)} bytes")
    coded = np.frombuffer(bytes(_CODEC.encode(payload)), np.uint8)
    return np.unpackbits(coded).astype(np.int8) * 2 - 1


def decode_payload(strengths: npt.NDArray[np.float64]) -> bytes | None:
    """The payload in signed strengths [BITS], mended; None where they are no codeword's.

    Of random signs two in a hundred are near a codeword: what it names counts only where it names a
    version that was marked, and its z is that of a mark.
    """
    coded = bytearray(np.packbits(strengths > 0).tobytes())
    weakest = np.abs(strengths).reshape(-1, 8).min(axis=1)
    for erased in range(_MOST_ERASED + 1):
        doubtful = np.argsort(weakest, kind="stable")[:erased]
        try:
            payload, _, _ = _CODEC.decode(bytearray(coded), erase_pos=[int(n) for n in doubtful])
        except ReedSolomonError:
            continue
        return bytes(payload)
    return None


MARK_SECRET_BYTES = 32
_COMMITMENT = b"sealgate/watermark-commitment/v2\n"
_PRESENCE = b"sealgate/watermark-presence/v1\n"
_RECIPIENT = b"sealgate/watermark-recipient/v1\n"
_KEY = "sealgate/watermark-key/v1"


@dataclass(frozen=True, slots=True)
class WatermarkCode:
    """The signs that one mark adds to weights: chips under a secret, times the payload's bits where
    there is one.
    """

    model: str
    secret: bytes = field(repr=False)
    payload: bytes | None = None

    @property
    def bits(self) -> int:
        """How many bits the payload has as it is written, 0 without one."""
        return PAYLOAD_BITS if self.payload is not None else 0

    def signs(self, shape: tuple[int, ...], ordinal: int) -> Signs:
        """+1 or -1 for each weight of the `ordinal`-th matrix of that shape."""
        signs = chips(self.secret, self.model, shape, ordinal)
        if self.payload is None:
            return signs
        rows = signs.reshape(shape[0], -1)
        rows *= rolled(codeword(self.payload), rows.shape[1])[self.starts(shape, ordinal)]
        return signs

    def starts(self, shape: tuple[int, ...], ordinal: int) -> npt.NDArray[np.int64]:
        """The bit of the payload that each row [shape[0]] begins with."""
        return offsets(self.secret, self.model, shape, ordinal, PAYLOAD_BITS)


def rolled(word: npt.NDArray[Any], columns: int) -> npt.NDArray[Any]:
    """The word [bits] over and over, from each of its places on: [bits, columns]."""
    places = np.arange(columns)[None, :] + np.arange(len(word))[:, None]
    found: npt.NDArray[Any] = word[places % len(word)]
    return found


@dataclass(frozen=True, slots=True)
class WatermarkKey:
    """32 random bytes, and the model whose versions they mark."""

    model: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_name(self.model)
        if len(self.secret) != MARK_SECRET_BYTES:
            raise SealgateError(
                Reason.DOCUMENT_MALFORMED, f"a watermark secret of {len(self.secret)}"
            )

    def presence(self, payload: bytes) -> WatermarkCode:
        """For weights too few to carry a payload: chips of this payload's own, which say by their
        presence that it is the one.
        """
        return WatermarkCode(self.model, self._derived(_PRESENCE + payload))

    def worded(self, payload: bytes) -> WatermarkCode:
        """For weights that carry the payload: the key's own chips, the same for every version."""
        return WatermarkCode(self.model, self.secret, payload)

    def recipient(self, parent: str, name: str) -> WatermarkCode:
        """Of the copy that one recipient was given of the version with the digest `parent`.

        The secrets of recipients are independent to all but the key's holder, so one can be opened
        and tells nothing of the others.
        """
        return WatermarkCode(
            self.model, self._derived(_RECIPIENT + canonical.raw(parent) + name.encode())
        )

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.new(self.secret, purpose, hashlib.sha256).digest()


@dataclass(frozen=True, slots=True)
class Mark:
    """A version's mark before it is written: key, 4 random bytes, the unmarked file's digest."""

    key: WatermarkKey
    payload: bytes
    unmarked: str

    def __post_init__(self) -> None:
        canonical.check_digest(self.unmarked)
        if len(self.payload) != MARK_PAYLOAD_BYTES:
            raise SealgateError(
                Reason.DOCUMENT_MALFORMED, f"a payload of {len(self.payload)} bytes"
            )

    @property
    def commitment(self) -> str:
        """SHA-256 over a domain, the model's name with its length, secret, payload and digest.

        It binds all of them, and tells nothing of them, for the secret is 32 random bytes.
        """
        model = self.key.model.encode()
        opened = self.key.secret + self.payload + canonical.raw(self.unmarked)
        return canonical.sha256(_COMMITMENT + bytes([len(model)]) + model + opened)

    def code(self, *, worded: bool) -> WatermarkCode:
        """The signs of this mark, with its payload or by presence alone."""
        return self.key.worded(self.payload) if worded else self.key.presence(self.payload)


def save_watermark_key(path: Path, key: WatermarkKey) -> None:
    """Writes a new file that its owner alone can read.

    A key is never replaced, since its marks cannot be read without it. Raises: KEY_FILE_EXISTS,
    and OSError where the folder cannot be written.
    """
    document = {"type": _KEY, "model": key.model, "secret": key.secret.hex()}
    write_private_file(path, canonical.encode(document))


def load_watermark_key(path: Path) -> WatermarkKey:
    """Reads a key file. Raises: KEY_FILE_EXPOSED, KEY_UNREADABLE, DOCUMENT_MALFORMED."""
    names = ("model", "secret")
    document = fields.record(canonical.decode(read_private_file(path)), names, kind=_KEY)
    return WatermarkKey(
        fields.text(document["model"]), fields.unhex(document["secret"], MARK_SECRET_BYTES)
    )
