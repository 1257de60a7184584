"""The payload of a mark: four bytes that name a version, as 64 signs that mend themselves.

Reed-Solomon over GF(2^8) (`reedsolo`) adds four bytes: two wrong bytes anywhere are mended, or up
to four where it is known which are doubtful; the reader knows, for each bit has a strength.
"""

import numpy as np
import numpy.typing as npt
from reedsolo import ReedSolomonError, RSCodec

from sealgate.reasons import Reason, Refusal

SIZE = 4
_PARITY = 4
BITS = 8 * (SIZE + _PARITY)
# Every erased byte costs one of parity; two are kept to find an error that nobody suspected.
_MOST_ERASED = 2
_CODEC = RSCodec(_PARITY)

Signs = npt.NDArray[np.int8]


def codeword(payload: bytes) -> Signs:
    """The signs [BITS] for a payload of SIZE bytes; Raises Refusal(PARAMETER_MALFORMED)."""
    if len(payload) != SIZE:
        raise Refusal(Reason.PARAMETER_MALFORMED, f"a payload of {len(payload)} bytes")
    coded = np.frombuffer(bytes(_CODEC.encode(payload)), np.uint8)
    return np.unpackbits(coded).astype(np.int8) * 2 - 1


def decode(strengths: npt.NDArray[np.float64]) -> bytes | None:
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
