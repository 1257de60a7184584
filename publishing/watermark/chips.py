"""The chips of a mark: one pseudo-random sign for each weight, known to the key's holder alone.

HMAC-SHA256 under the secret turns a matrix's place into a 128-bit key for Philox-4x64-10 (Salmon
et al., SC 2011), a counter-based generator whose raw stream numpy keeps stable across releases.
"""

import hashlib
import hmac

import numpy as np
import numpy.typing as npt

_DOMAIN = b"sealgate/watermark-chips/v1\n"


def chips(
    secret: bytes, model: str, shape: tuple[int, ...], ordinal: int
) -> npt.NDArray[np.float32]:
    """Signs, +1 or -1, of the given shape for the `ordinal`-th matrix of that shape.

    The place is named by shape and order, not by the initializer's name: ONNX Runtime renames
    weights when it quantizes, and a thief would too.
    """
    place = ",".join(map(str, shape)) + f"#{ordinal}"
    message = _DOMAIN + bytes([len(model)]) + model.encode() + place.encode()
    digest = hmac.new(secret, message, hashlib.sha256).digest()
    count = int(np.prod(shape))
    generator = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    words = generator.random_raw(-(-count // 64)).astype("<u8", copy=False)
    bits = np.unpackbits(words.view(np.uint8), count=count, bitorder="little")
    return (bits.astype(np.float32) * 2 - 1).reshape(shape)
