"""Rewrites a ready model so that it takes rows of float32, of whatever numbers and tensors it was.

scikit-learn's own rows are float64, so its converters emit such graphs; serving, gradients and
quantization are of float32.

A model of several tensors takes the row that `inference.model.request_tensors` makes of a request.
Nodes in front of the model take it apart: a text is looked up among its words, and numbers become
what the model takes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import AttributeProto, TensorProto, helper, numpy_helper, shape_inference

from inference.model.request_tensors import RequestTensor
from inference.runtime.providers import ERRORS
from inference.runtime.session import Session
from publishing.differentiate.graphs import Emitter
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import DTYPES
from sealgate.trust import canonical, fields

Array = npt.NDArray[Any]
# How far answers may move, as a share of the largest one. Half precision has three digits.
_CLOSE = {TensorProto.DOUBLE: 1e-3, TensorProto.FLOAT16: 2e-2}
_TYPES = {"dtype", "output_dtype", "stash_type", "to"}
_AS_TENSOR = "_as_tensor"
_QUIET = 4
_FLOATS = np.finfo(np.float32)
# Which way a threshold is rounded so that each float32 takes the branch that it took.
_DOWN, _UP = {b"BRANCH_LEQ", b"BRANCH_GT"}, {b"BRANCH_LT", b"BRANCH_GTE"}
ROW = "row"
_TEXT = TensorProto.STRING


def is_wide(graph: onnx.GraphProto) -> bool:
    """Whether anything in it is float64 or float16."""
    kinds = {tensor.data_type for tensor in graph.initializer}
    kinds |= {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    for node in graph.node:
        kinds |= {each.i for each in node.attribute if each.name in _TYPES}
        kinds |= {each.t.data_type for each in node.attribute if each.HasField("t")}
    return not kinds.isdisjoint(_CLOSE)


def first_answers(
    model: onnx.ModelProto, names: Sequence[str], feeds: dict[str, Array]
) -> Sequence[Any]:
    """The answers of the model as it was given. Raises as `Session` does."""
    data = model.SerializeToString()
    if not is_wide(model.graph):
        return Session.open(data, names).run(feeds)
    # Optimizing attention of float16 ends onnxruntime 1.31 with a segmentation fault.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _QUIET
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        found: Sequence[Any] = session.run(list(names), feeds)
    except ERRORS as error:
        raise SealgateError(Reason.FORMAT_REFUSED, f"onnxruntime: {error}") from error
    return found


def write_in_float32(model: onnx.ModelProto, feeds: dict[str, Array], expected: Array) -> None:
    """Turn, in place, what is float64 or float16 into float32. The graph has one output, whose
    `expected` answers to `feeds` the original gave.

    Raises: GRAPH_MISMATCH where the graph does not run in float32, or answers differently.
    """
    kinds = _turned(model.graph)
    if not kinds:
        return
    close = max(_CLOSE[kind] for kind in kinds)
    try:
        _drop_casts(model)
        names = [model.graph.output[0].name]
        (found,) = Session.open(model.SerializeToString(), names).run(feeds)
    except (SealgateError, shape_inference.InferenceError) as error:
        raise _refusal(f"does not run in float32 ({str(error)[:300]})") from error
    wanted = np.asarray(expected, np.float64)
    away = float(np.abs(found - wanted).max())
    most = float(np.abs(wanted).max())
    if not away <= close * most:
        raise _refusal(f"answers in float32 with up to {away:.2g} of difference, at {most:.2g}")


def _refusal(what: str) -> SealgateError:
    detail = f"the graph is of float64 or float16, and {what}: convert to float32 before the export"
    return SealgateError(Reason.GRAPH_MISMATCH, detail)


def _turned(graph: onnx.GraphProto) -> set[int]:
    """The types that the graph had."""
    kinds = set()
    for tensor in graph.initializer:
        kinds.add(_rounded(tensor))
    for node in graph.node:
        for each in list(node.attribute):
            if each.name in _TYPES and each.type == AttributeProto.INT and each.i in _CLOSE:
                kinds.add(each.i)
                each.i = TensorProto.FLOAT
            elif each.type == AttributeProto.TENSOR and each.name.endswith(_AS_TENSOR):
                kinds.add(_listed(node, each))
            elif each.type == AttributeProto.TENSOR:
                kinds.add(_rounded(each.t))
    for value in (*graph.input, *graph.output):
        kind = value.type.tensor_type
        if kind.elem_type in _CLOSE:
            kinds.add(kind.elem_type)
            kind.elem_type = TensorProto.FLOAT
    return kinds & _CLOSE.keys()


def _rounded(tensor: onnx.TensorProto) -> int:
    """The type that the tensor had."""
    kind = int(tensor.data_type)
    if kind in _CLOSE:
        value = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(_single(value), tensor.name))
    return kind


def _single(value: Array) -> Array:
    """A mask of float64's least number is float32's least, not an infinity."""
    bounded = np.where(np.isfinite(value), np.clip(value, _FLOATS.min, _FLOATS.max), value)
    return np.asarray(bounded, np.float32)


def _listed(node: onnx.NodeProto, given: onnx.AttributeProto) -> int:
    """Trees of float64 have tensors where those of float32 have lists."""
    kind, value = int(given.t.data_type), numpy_helper.to_array(given.t)
    name = given.name.removesuffix(_AS_TENSOR)
    single = _single(value)
    if name == "nodes_values":
        modes = next(list(each.strings) for each in node.attribute if each.name == "nodes_modes")
        down = np.isin(modes, list(_DOWN)) & (single > value)
        up = np.isin(modes, list(_UP)) & (single < value)
        single = np.where(down, np.nextafter(single, np.float32(-np.inf)), single)
        single = np.where(up, np.nextafter(single, np.float32(np.inf)), single)
    node.attribute.remove(given)
    node.attribute.append(helper.make_attribute(name, single.ravel().tolist()))
    return kind


def _drop_casts(model: onnx.ModelProto) -> None:
    """Turn casts of float32 to float32 into identities, which hide no softmax from `scored`."""
    inferred = shape_inference.infer_shapes(model).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    kinds |= {value.name: value.type.tensor_type.elem_type for value in inferred.input}
    for node in model.graph.node:
        if node.op_type != "Cast" or kinds.get(node.input[0]) != TensorProto.FLOAT:
            continue
        if helper.get_node_attr_value(node, "to") == TensorProto.FLOAT:
            node.op_type = "Identity"
            del node.attribute[:]


def described_inputs(model: onnx.ModelProto) -> bytes:
    """Canonical JSON: each input's name, data type and the sizes behind its rows, -1 being free."""
    return canonical.encode([_described(value) for value in entering(model.graph)])


def entering(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller sends. An initializer of the same name is a weight."""
    bound = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in bound]


def read_inputs(data: bytes) -> list[tuple[str, str, tuple[int, ...]]]:
    """The inputs that `described_inputs` wrote: name, data type and sizes. Raises
    DOCUMENT_MALFORMED.
    """
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
