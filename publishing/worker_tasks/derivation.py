"""Checks whether a version's INT8 model follows from its signed float32 model, byte for byte.

The model is quantized again and compared. With a copy of the publisher's data, whose digest the
signed bill of materials names, the activation ranges are computed: then the INT8 model follows from
weights and data. Without it, the ranges stated in the INT8 graph are used: then its weights and
operators follow from the float32 model, and the ranges rest on the publisher's word. The quantizer
runs the model, so it runs in a worker.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx

from inference.engine import version_contents
from inference.model.config import ModelConfig
from inference.model.golden import Golden
from publishing.quantization import quantize, stated_ranges
from publishing.serialization import pack_tensors, parse_model, unpack_tensors
from publishing.source.dataset import Dataset
from registry.sandbox import process
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

TASK = f"{__name__}:run"
FILES = (
    version_contents.MODEL,
    version_contents.FP32,
    version_contents.INT8,
    version_contents.GOLDEN,
)
_MODEL, _FP32, _INT8, _ROWS = "model", "fp32", "int8", "rows"
_HEADER = 1 << 20


@dataclass(frozen=True, slots=True)
class DerivationResult:
    """The result: the INT8 model's digest, and the source of the activation ranges."""

    digest: str
    ranges: str


def derive(
    files: Mapping[str, bytes], data: Dataset | None, data_digest: str, confinement: Confinement
) -> DerivationResult:
    """Quantize the float32 model of `files` (those of FILES, signed) again and compare the bytes.

    1. The data, if there is any, is that of the version (DIGEST_MISMATCH); `data_digest` is from
       its bill of materials.
    2. The quantizer makes the INT8 model from the float32 model (DERIVATION_MISMATCH, which names
       the tensors that differ).

    Raises SealgateError, also: FORMAT_REFUSED, and the reasons of a worker.
    """
    config = ModelConfig.decode(files[version_contents.MODEL])
    texts = {_MODEL: files[version_contents.MODEL], _FP32: files[version_contents.FP32]}
    # 1.
    if data is not None:
        if data.digest != data_digest:
            raise SealgateError(
                Reason.DIGEST_MISMATCH, "not the data that the bill of materials names"
            )
        rows, ranges = data.fit.x, "recorded on the data again"
    else:
        # The quantizer wants rows to run the model on, though their ranges are not used.
        rows = Golden.decode(files[version_contents.GOLDEN], config).x
        texts[_INT8] = files[version_contents.INT8]
        ranges = "as the INT8 graph states them"
    # 2.
    int8 = files[version_contents.INT8]
    with process.start(
        TASK, pack_tensors(texts, {_ROWS: rows}), confinement.limits, unsafe=confinement.unsafe
    ) as worker:
        made = worker.receive(2 * len(files[version_contents.FP32]) + _HEADER)
        worker.finish()
    if made != int8:
        raise SealgateError(Reason.DERIVATION_MISMATCH, _difference(made, int8))
    return DerivationResult(sha256(int8), ranges)


def run(request: bytes, send: Callable[[bytes], None]) -> None:
    """In the worker: sends the model that answers. Raises: FORMAT_REFUSED, EXTERNAL_DATA."""
    asked = unpack_tensors(request)
    config = ModelConfig.decode(asked[_MODEL].tobytes())
    fp32 = asked[_FP32].tobytes()
    if not config.quantized:
        send(fp32)
        return
    ranges = stated_ranges(asked[_INT8].tobytes()) if _INT8 in asked else None
    rows, by_column = asked[_ROWS], config.relative
    send(quantize(fp32, config.input.name, rows, ranges, products_only=by_column))


def _difference(made: bytes, signed: bytes) -> str:
    ours, theirs = _tensors(made), _tensors(signed)
    names = sorted(
        name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
    )
    if names:
        return f"{len(names)} of {len(theirs)} tensors differ: {', '.join(names[:5])}"
    return "its tensors are the same, its operators are not; another release made it?"


def _tensors(model: bytes) -> dict[str, bytes]:
    graph: onnx.GraphProto = parse_model(model).graph
    return {t.name: t.SerializeToString(deterministic=True) for t in graph.initializer}
