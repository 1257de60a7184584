"""Small networks for the watermark's tests, and what is done to them."""

import json

import numpy as np
import numpy.typing as npt

from publishing.watermark.carrier_weights import CarrierWeight
from publishing.watermark.detection import FileWeights
from publishing.watermark.graph_marking import spread_mark
from publishing.watermark.key import Mark, WatermarkKey
from publishing.watermark.mark_records import MarkRecord, WeightSlot
from sealgate.trust.canonical import sha256

Floats = npt.NDArray[np.float32]
KEY = WatermarkKey("digits", bytes(range(32)))
# A convolution, and matrices of which two have one shape; enough to carry a payload.
SHAPES = {
    "conv": (64, 32, 3, 3),
    "first": (256, 192),
    "second": (192, 256),
    "third": (256, 192),
    "last": (16, 256),
}


def network(seed: int = 0) -> dict[str, Floats]:
    """Weights by name, output channels first; rows of unequal size."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in SHAPES.items():
        sizes = np.exp(0.3 * rng.standard_normal(shape[0])).reshape(-1, *[1] * (len(shape) - 1))
        found[name] = (0.05 * sizes * rng.standard_normal(shape)).astype(np.float32)
    return found


def mark(payload: bytes = b"\1\2\3\4", key: WatermarkKey = KEY) -> Mark:
    return Mark(key, payload, sha256(b"unmarked"))


def marked(
    weights: dict[str, Floats], of: Mark | None = None
) -> tuple[dict[str, Floats], MarkRecord]:
    """The weights with a mark, and what its owner keeps."""
    of = of or mark()
    hosts = list(weights.values())
    spreading = spread_mark(hosts, of)
    moved = dict(zip(weights, spreading.apply(hosts), strict=True))
    slots = tuple(WeightSlot(n, w.shape, tuple(range(w.ndim))) for n, w in weights.items())
    worded = spreading.code.bits > 0
    return moved, MarkRecord(of, worded, 7, sha256(b"version"), slots)


def weights(found: dict[str, Floats], *, graph: bool = True) -> FileWeights:
    """As a file would have them."""
    carriers = [CarrierWeight(n, tuple(range(w.ndim)), w) for n, w in found.items()]
    return FileWeights(graph, tuple(carriers))


def safetensors_bytes(values: dict[str, npt.NDArray[np.generic]]) -> bytes:
    """The library writes no bfloat16 from numpy, so this writes all."""
    names = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8", "uint8": "U8"}
    header, place = {}, 0
    for name, value in values.items():
        offsets = [place, place + value.nbytes]
        kind = names[str(value.dtype)]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": offsets}
        place += value.nbytes
    text = json.dumps(header).encode()
    parts = [np.ascontiguousarray(value).tobytes() for value in values.values()]
    return len(text).to_bytes(8, "little") + text + b"".join(parts)
