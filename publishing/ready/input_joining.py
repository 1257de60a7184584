"""Lets a model of several tensors, or of other types than float32, take one row of numbers.

The row is what `inference.model.request_tensors` makes of a request. Nodes in front of the model
take it apart: a text is looked up among its words, and numbers become what the model takes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from inference.model.request_tensors import RequestTensor
from publishing.differentiate.emitter import Emitter
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import DTYPES
from sealgate.trust import canonical, fields

ROW = "row"
_TEXT = TensorProto.STRING


def described_inputs(model: onnx.ModelProto) -> bytes:
    """Canonical JSON: each input's name, data type and the sizes behind its rows, -1 being free."""
    return canonical.encode([_described(value) for value in entering(model.graph)])


def entering(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What a caller sends. An initializer of the same name is a weight."""
    bound = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in bound]


def read_inputs(data: bytes) -> list[tuple[str, str, tuple[int, ...]]]:
    """What `described_inputs` wrote: name, data type and sizes. Raises DOCUMENT_MALFORMED."""
    found = []
    for item in fields.items(canonical.decode(data)):
        each = fields.record(item, ("name", "datatype", "row"))
        sizes = tuple(fields.integer(size, least=-1) for size in fields.items(each["row"]))
        found.append((fields.text(each["name"]), fields.text(each["datatype"]), sizes))
    return found


def join_inputs(model: onnx.ModelProto, tensors: Sequence[RequestTensor]) -> None:
    """Let it take, in place, one row [n, D] of these tensors. Raises: GRAPH_MISMATCH."""
    graph = model.graph
    given = {value.name: value.type.tensor_type.elem_type for value in entering(graph)}
    if given.keys() != {tensor.name for tensor in tensors} or ROW in given:
        raise SealgateError(Reason.GRAPH_MISMATCH, f"the model takes {', '.join(given)}")
    e, start = Emitter("join"), 0
    for tensor in tensors:
        end = start + tensor.places
        part = e.op("Slice", ROW, e.integers(start), e.integers(end), e.integers(1))
        shape = e.integers(-1, *tensor.row)
        if tensor.words:
            part = _words(e, part, tensor)
            e.nodes.append(helper.make_node("Reshape", [part, shape], [tensor.name]))
        else:
            numbers = e.op("Reshape", part, shape)
            kind = given[tensor.name]
            e.nodes.append(helper.make_node("Cast", [numbers], [tensor.name], to=kind))
        start = end
    nodes = [*e.nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(e.initializers)
    values = [value for value in graph.input if value.name not in given]
    del graph.input[:]
    graph.input.extend(values)
    graph.input.append(helper.make_tensor_value_info(ROW, TensorProto.FLOAT, ["n", start]))


def _words(e: Emitter, part: str, tensor: RequestTensor) -> str:
    """The text of each element, by the place that is 1."""
    shaped = e.op("Reshape", part, e.integers(-1, tensor.elements, len(tensor.words)))
    held = e.op("ArgMax", shaped, axis=2, keepdims=0)
    words = helper.make_tensor(
        f"join/words/{tensor.name}",
        _TEXT,
        [len(tensor.words)],
        [word.encode() for word in tensor.words],
    )
    e.initializers.append(words)
    return e.op("Gather", words.name, held, axis=0)


def _described(value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        detail = f"{value.name} is no tensor: export the model with tensors as its inputs"
        raise SealgateError(Reason.GRAPH_MISMATCH, detail)
    dims = [dim.dim_value if dim.dim_value > 0 else -1 for dim in kind.shape.dim]
    return {"name": value.name, "datatype": _datatype(value), "row": dims[1:]}


def _datatype(value: onnx.ValueInfoProto) -> str:
    kind = value.type.tensor_type.elem_type
    if kind == _TEXT:
        return "BYTES"
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    names = [name for name, each in DTYPES.items() if each == dtype.newbyteorder("<")]
    if not names:
        raise SealgateError(Reason.GRAPH_MISMATCH, f"{value.name} has elements of {dtype}")
    return names[0]
