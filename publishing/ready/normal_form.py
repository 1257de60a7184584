"""Brings a ready ONNX model into the form of a serving graph.

The model that answers stays the user's: what changes is how it is written down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper, version_converter

from inference.model.decisions import CLASSES
from inference.model.request_tensors import RequestTensor
from inference.runtime.graph_rewrites import drop_unread
from publishing.differentiate import RESERVED
from publishing.ready.float_rows import (
    entering,
    first_answers,
    is_wide,
    join_inputs,
    write_in_float32,
)
from publishing.ready.scores import write_plainly
from publishing.serialization import parse_model
from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[Any]
# Rules of differentiation emit operators as they are since this version.
_OPSET, _IR = 20, 10
_LOOKED_AT = 64
_NUMBERS = {
    TensorProto.FLOAT16,
    TensorProto.DOUBLE,
    TensorProto.INT32,
    TensorProto.INT64,
}


@dataclass(frozen=True, slots=True, eq=False)
class NormalModel:
    """A serving graph with one input and one output [n, width]."""

    model: onnx.ModelProto
    input: str
    output: str
    width: int


def normal_model(
    data: bytes,
    rows: Array,
    output: str | None = None,
    kind: str = CLASSES,
    tensors: Sequence[RequestTensor] = (),
) -> NormalModel:
    """The model of `data` in normal form, which was run on the first of these rows.

    1. Functions are inlined, constants become initializers, and the operator set is current.
    2. There is one input of numbers, and it takes rows of this shape (GRAPH_MISMATCH): the model's
       own, or the row of these `tensors`.
    3. A list of maps becomes a tensor, float64 and float16 become float32 with the same answers
       (GRAPH_MISMATCH), and linear operators of `ai.onnx.ml` become plain ones.
    4. `output`, or the only output of real numbers for each row, stays (GRAPH_MISMATCH). If the
       `kind` of answer is classes, one probability or score becomes two of them.
    5. No weight has a name that the response graph needs.

    Raises also: FORMAT_REFUSED, EXTERNAL_DATA.
    """
    # 1.
    model = _current(parse_model(data))
    # 2.
    if tensors:
        join_inputs(model, tensors)
    name = _single_input(model, rows)
    # 3.
    _without_maps(model)
    # 4.
    chosen, found = _chosen(model, name, rows, output)
    _keep(model, chosen)
    write_in_float32(model, {name: rows[:_LOOKED_AT]}, found)
    write_plainly(model)
    if kind == CLASSES and (found.ndim == 1 or found.shape[1] == 1):
        chosen, found = _two_classes(model, chosen, found)
    elif found.ndim == 1:
        found = _as_column(model, chosen, found)
    del model.graph.output[:]
    model.graph.output.append(_value(chosen, ["n", found.shape[1]]))
    drop_unread(model.graph)
    _flatten_biases(model.graph)
    # 5.
    _free_names(model, {name, chosen})
    return NormalModel(model, name, chosen, found.shape[1])


def _current(model: onnx.ModelProto) -> onnx.ModelProto:
    if model.functions:
        model = inliner.inline_local_functions(model)
    if any(a.HasField("g") or a.graphs for node in model.graph.node for a in node.attribute):
        detail = "the graph has branches or loops: export it without control flow"
        raise SealgateError(Reason.GRAPH_MISMATCH, detail)
    versions = [e.version for e in model.opset_import if e.domain in ("", "ai.onnx")]
    if not versions:
        # Trees alone need none.
        model.opset_import.append(helper.make_opsetid("", _OPSET))
    version = max(versions, default=_OPSET)
    if version < _OPSET:
        try:
            model = version_converter.convert_version(model, _OPSET)
        except (
            RuntimeError,
            ValueError,
            onnx.checker.ValidationError,
            version_converter.ConvertError,
        ) as error:
            detail = f"operator set {version} cannot be brought to {_OPSET}: export it anew"
            raise SealgateError(Reason.FORMAT_REFUSED, f"{detail} ({str(error)[:200]})") from error
    model.ir_version = max(model.ir_version, _IR)
    graph = model.graph
    del graph.value_info[:]
    kept = []
    for node in graph.node:
        tensor = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and tensor is not None:
            graph.initializer.add().CopyFrom(tensor)
            graph.initializer[-1].name = node.output[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return model


def _single_input(model: onnx.ModelProto, rows: Array) -> str:
    graph, values = model.graph, entering(model.graph)
    if len(values) != 1:
        named = ", ".join(value.name for value in values)
        detail = f"the model takes {len(values)} inputs: give data for each by name ({named})"
        raise SealgateError(Reason.GRAPH_MISMATCH, detail)
    name, kind = values[0].name, values[0].type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        if kind not in _NUMBERS:
            detail = f"{name} is not a tensor of numbers: give its texts in a .csv file"
            raise SealgateError(Reason.GRAPH_MISMATCH, detail)
        inner = f"{name}/cast"
        for node in graph.node:
            node.input[:] = [inner if each == name else each for each in node.input]
        graph.node.insert(0, helper.make_node("Cast", [name], [inner], to=kind))
    del graph.input[:]
    graph.input.append(_value(name, ["n", *rows.shape[1:]]))
    return str(name)


def _without_maps(model: onnx.ModelProto) -> None:
    """Let a ZipMap's list of maps be the tensor that it was made of."""
    graph = model.graph
    sources = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "ZipMap"}
    kept = [node for node in graph.node if node.op_type != "ZipMap"]
    for output, source in sources.items():
        kept.append(helper.make_node("Identity", [source], [output]))
    del graph.node[:]
    graph.node.extend(kept)


def _chosen(
    model: onnx.ModelProto, name: str, rows: Array, wanted: str | None
) -> tuple[str, Array]:
    """The output that stays, and what it is for the first rows."""
    names = [value.name for value in model.graph.output]
    if wanted is not None and wanted not in names:
        detail = f"there is no output {wanted}, but {', '.join(names)}"
        raise SealgateError(Reason.GRAPH_MISMATCH, detail)
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=each) for each in names)
    try:
        given = first_answers(shown, names, {name: rows[:_LOOKED_AT]})
        found = dict(zip(names, given, strict=True))
    except SealgateError as refusal:
        other = ", or convert to float32" if is_wide(model.graph) else ""
        detail = (
            f"the model does not run on rows of shape {rows.shape[1:]}: give rows as the model"
            f" takes them, or export it with a free first dimension{other}"
            f" ({refusal.detail[:300]})"
        )
        raise SealgateError(Reason.GRAPH_MISMATCH, detail) from refusal
    count = min(len(rows), _LOOKED_AT)
    scores = {n: v for n, v in found.items() if _has_scores(v, count) and wanted in (None, n)}
    if len(scores) != 1:
        detail = f"the outputs with a row of scores are {sorted(scores)}: name one with --output"
        raise SealgateError(Reason.GRAPH_MISMATCH, detail)
    return next(iter(scores.items()))


def _has_scores(value: Any, count: int) -> bool:
    if not isinstance(value, np.ndarray) or not np.issubdtype(value.dtype, np.floating):
        return False
    return value.ndim in (1, 2) and len(value) == count and bool(np.isfinite(value).all())


def _keep(model: onnx.ModelProto, output: str) -> None:
    """Without what other outputs need; the one that stays is float32."""
    graph = model.graph
    kept = next(value for value in graph.output if value.name == output)
    double = kept.type.tensor_type.elem_type not in (TensorProto.FLOAT, TensorProto.UNDEFINED)
    del graph.output[:]
    graph.output.append(onnx.ValueInfoProto(name=output))
    drop_unread(graph)
    if double:
        _renamed_output(graph, output)
        node = helper.make_node("Cast", [f"{output}/raw"], [output], to=TensorProto.FLOAT)
        graph.node.append(node)


def _two_classes(model: onnx.ModelProto, output: str, found: Array) -> tuple[str, Array]:
    """One probability p becomes (1 - p, p), one score z becomes (-z / 2, z / 2): the softmax of
    these is (1 - p, p) as well.
    """
    graph = model.graph
    column, probable = found.reshape(-1, 1), bool(found.min() >= 0 and found.max() <= 1)
    _renamed_output(graph, output)
    shape, one = (
        numpy_helper.from_array(np.array(value, kind), f"two/{label}")
        for label, value, kind in (("shape", [-1, 1], np.int64), ("one", 1, np.float32))
    )
    half = numpy_helper.from_array(np.array([[-0.5, 0.5]], np.float32), "two/half")
    graph.initializer.extend([shape, one, half])
    raw = f"{output}/raw"
    last = next(node for node in graph.node if raw in node.output)
    if last.op_type == "Sigmoid":
        # The sigmoid comes after the reshape, so that what enters it is a column as well.
        graph.node.append(helper.make_node("Reshape", [last.input[0], "two/shape"], ["two/z"]))
        graph.node.append(helper.make_node("Sigmoid", ["two/z"], ["two/column"]))
    else:
        graph.node.append(helper.make_node("Reshape", [raw, "two/shape"], ["two/column"]))
    if not probable:
        graph.node.append(helper.make_node("Mul", ["two/column", "two/half"], [output]))
        return output, column * np.array([[-0.5, 0.5]], np.float32)
    graph.node.append(helper.make_node("Sub", ["two/one", "two/column"], ["two/other"]))
    graph.node.append(helper.make_node("Concat", ["two/other", "two/column"], [output], axis=1))
    return output, np.concatenate([1 - column, column], axis=1)


def _as_column(model: onnx.ModelProto, output: str, found: Array) -> Array:
    graph = model.graph
    _renamed_output(graph, output)
    graph.initializer.append(numpy_helper.from_array(np.array([-1, 1], np.int64), "column/shape"))
    graph.node.append(helper.make_node("Reshape", [f"{output}/raw", "column/shape"], [output]))
    return found.reshape(-1, 1)


def _flatten_biases(graph: onnx.GraphProto) -> None:
    """A bias [1, k] becomes one [k], which the quantizer expects."""
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    for tensor in graph.initializer:
        if readers.get(tensor.name) == {"Add"} and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]


def _renamed_output(graph: onnx.GraphProto, output: str) -> None:
    """Free the name of an output: what has it now is its raw form."""
    for node in graph.node:
        node.input[:] = [f"{output}/raw" if each == output else each for each in node.input]
        node.output[:] = [f"{output}/raw" if each == output else each for each in node.output]


def _free_names(model: onnx.ModelProto, own: set[str]) -> None:
    """Initializers keep their names in both graphs, so none may have a reserved one."""
    taken = {tensor.name for tensor in model.graph.initializer} & (RESERVED - own)
    for tensor in model.graph.initializer:
        if tensor.name in taken:
            tensor.name = f"model/{tensor.name}"
    for node in model.graph.node:
        node.input[:] = [f"model/{each}" if each in taken else each for each in node.input]


def _value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
