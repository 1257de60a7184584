"""The code of a mark: pseudo-random chips for weights, and the error-correcting payload.

HMAC-SHA256 under the secret turns a matrix's place into a 128-bit key for Philox-4x64-10 (Salmon
et al., SC 2011), a counter-based generator whose raw stream numpy keeps stable across releases.
Only the key's holder knows the chips.

The payload is four bytes that name a version, sent as 64 signs. Reed-Solomon over GF(2^8)
(`reedsolo`) adds four bytes: two wrong bytes anywhere are corrected, or up to four if their places
are known; the reader knows doubtful places, since each bit has a strength.
"""

import hashlib
import hmac

import numpy as np
import numpy.typing as npt
from reedsolo import ReedSolomonError, RSCodec

from sealgate.reasons import Reason, SealgateError

_CHIPS = b"sealgate/watermark-chips/v1\n"
_OFFSETS = b"sealgate/watermark-offsets/v1\n"

Signs = npt.NDArray[np.int8]


def chips(secret: bytes, model: str, shape: tuple[int, ...], ordinal: int) -> Signs:
    """Signs, +1 or -1, of the given shape for the `ordinal`-th matrix of that shape.

    The place is named by shape and order, not by the initializer's name: ONNX Runtime renames
    weights when it quantizes, and a thief would too.
    """
    count = int(np.prod(shape))
    words = _words(_CHIPS, secret, model, shape, ordinal, -(-count // 64))
    bits = np.unpackbits(words.view(np.uint8), count=count, bitorder="little").view(np.int8)
    bits *= 2
    bits -= 1
    return bits.reshape(shape)


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


PAYLOAD_BYTES = 4
_PARITY = 4
PAYLOAD_BITS = 8 * (PAYLOAD_BYTES + _PARITY)
# Every erased byte costs one of parity; two are kept to find an error that nobody suspected.
_MOST_ERASED = 2
_CODEC = RSCodec(_PARITY)


def codeword(payload: bytes) -> Signs:
    """The signs [BITS] for a payload of SIZE bytes; Raises SealgateError(PARAMETER_MALFORMED)."""
    if len(payload) != PAYLOAD_BYTES:
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
