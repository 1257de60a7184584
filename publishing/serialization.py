"""Bytes of ONNX models and of tensors: deterministic ONNX, and safetensors frames for workers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import safetensors
from safetensors import numpy as safetensors_numpy

from registry.formats.format_check import check_file
from sealgate.reasons import Reason, SealgateError

_ONE_FILE = (
    "its weights lie in another file: write one file with onnx.save(onnx.load(FILE), NEW), or with"
    " torch.onnx.export(..., external_data=False)"
)


def parse_model(data: bytes) -> onnx.ModelProto:
    """The model in `data`, which must be complete in itself: FORMAT_REFUSED, EXTERNAL_DATA."""
    try:
        check_file("model.onnx", data)
    except SealgateError as refusal:
        if refusal.reason is not Reason.EXTERNAL_DATA:
            raise
        raise SealgateError(Reason.EXTERNAL_DATA, _ONE_FILE) from refusal
    return onnx.ModelProto.FromString(data)


def serialize_model(model: onnx.ModelProto) -> bytes:
    """The model's bytes, without notes and without unused operator sets.

    Exporters write stack traces and paths of the exporting machine into their notes: they tell
    strangers too much, and differ where the model does not. `model` itself is left as it is.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    graph = plain.graph
    for part in (plain, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    # Shapes of inner tensors can be inferred again, and stale ones make the quantizer fail.
    del graph.value_info[:]
    used = {_domain(node.domain) for node in graph.node} | {""}
    used |= {_domain(function.domain) for function in plain.functions}
    kept = [entry for entry in plain.opset_import if _domain(entry.domain) in used]
    del plain.opset_import[:]
    plain.opset_import.extend(kept)
    return plain.SerializeToString(deterministic=True)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


Array = npt.NDArray[Any]


def pack_tensors(texts: Mapping[str, bytes], arrays: Mapping[str, Array]) -> bytes:
    """One piece from texts and arrays, whose names differ."""
    tensors = {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}
    tensors |= {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return bytes(safetensors_numpy.save(tensors))


def unpack_tensors(data: bytes) -> dict[str, Array]:
    """The arrays by name; a text is one of bytes (`tobytes`). Raises
    SealgateError(WORKER_FAILED).
    """
    try:
        return dict(safetensors_numpy.load(data))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise SealgateError(Reason.WORKER_FAILED, "its answer is no safetensors") from error
