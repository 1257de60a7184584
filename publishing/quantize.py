"""Static INT8: weights as integers a channel, activations by ranges recorded on the fit slice.

Static ranges make an answer independent of the batch it sits in, as dynamic ones do not. Weights
use 7 of their 8 bits: where a processor multiplies bytes pairwise into 16 bits (x86 without VNNI),
a full-range product saturates, and the same version would answer differently there.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime import quantization
from onnxruntime.capi import onnxruntime_pybind11_state as errors
from onnxruntime.quantization.shape_inference import quant_pre_process

from publishing.graphs import parse_model, serialize_model
from sealgate.reasons import Reason, Refusal

# onnxruntime's exceptions have no base of their own.
_ERRORS = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NotImplemented,
    errors.RuntimeException,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    ValueError,
)
_BATCH_ROWS = 128
# The last product goes out as it is: 256 levels over all logits would make ties of near classes.
_FLOAT_OUTPUTS = ["Gemm", "MatMul"]


def quantize(model: bytes, input_name: str, rows: npt.NDArray[np.float32]) -> bytes:
    """The QDQ INT8 form of an fp32 model; the same model and rows give the same bytes.

    `rows` [n, ...] are what the ranges of the activations are recorded on.
    Raises: FORMAT_REFUSED, EXTERNAL_DATA.
    """
    source = parse_model(model)
    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            _drop_shapes(prepared)
            quantization.quantize_static(
                prepared,
                quantized,
                _Rows(input_name, rows),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                extra_options={"OpTypesToExcludeOutputQuantization": _FLOAT_OUTPUTS},
            )
        except _ERRORS as error:
            raise Refusal(Reason.FORMAT_REFUSED, "the model cannot be quantized") from error
        return serialize_model(parse_model(quantized.read_bytes()))


def _drop_shapes(path: Path) -> None:
    """Where stated shapes of inner tensors disagree with inferred ones, the quantizer stops."""
    model = parse_model(path.read_bytes())
    del model.graph.value_info[:]
    path.write_bytes(model.SerializeToString(deterministic=True))


class _Rows(quantization.CalibrationDataReader):
    def __init__(self, name: str, rows: npt.NDArray[np.float32]) -> None:
        self._batches: Iterator[dict[str, npt.NDArray[np.float32]]] = (
            {name: rows[start : start + _BATCH_ROWS]} for start in range(0, len(rows), _BATCH_ROWS)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._batches, None)
