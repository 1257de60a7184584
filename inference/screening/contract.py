"""What a response graph must look like, whatever trained it and whatever it was exported by.

A response graph is one ONNX graph that answers "what is the model's output, and how does it move
when the input does?" (see `training.export` for how ours is made):

    inputs   x         float32 [n, ...]  the rows, shaped as the serving graph takes them
             label     int64   [n]       the class to step away from; -1 is the model's own answer
             eps       float32 []        size of the step, in units of x
             clip_min  float32 []        the domain of x; every step is clipped to it
             clip_max  float32 []
    outputs  logits    float32 [n, C]    the serving graph's forward
             x_adv     float32 [n, ...]  clip(x + eps * sign(gradient of cross-entropy to label))
             features  float32 [n, F]    how the margin of the model's own answer moves under small
                                         steps of eps; what a Detector reads

The checks here read the graph; that its forward is the serving graph's is for who runs both to see
(`check_same_forward`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError

from sealgate.reasons import Reason, Refusal

X, LABEL, EPS, CLIP_MIN, CLIP_MAX = INPUTS = ("x", "label", "eps", "clip_min", "clip_max")
LOGITS, X_ADV, FEATURES = OUTPUTS = ("logits", "x_adv", "features")
OWN_PREDICTION = -1
FORWARD_TOLERANCE = 1e-4
_MAX_FEATURES = 4096


@dataclass(frozen=True, slots=True)
class ResponseShape:
    """The sizes that a response graph declares; rows are always free."""

    row: tuple[int, ...]
    classes: int
    features: int


def check_response_graph(
    model: onnx.ModelProto | bytes, row: Sequence[int] | None = None, classes: int | None = None
) -> ResponseShape:
    """Check names, types and shapes; where `row` and `classes` are given, those sizes too.

    Raises FORMAT_REFUSED for what is not a well-formed ONNX model, GRAPH_MISMATCH for one that is
    not a response graph or not of this size.
    """
    graph = _parse(model).graph
    bound = {tensor.name for tensor in graph.initializer}
    if bound & set(INPUTS):
        raise Refusal(Reason.GRAPH_MISMATCH, "an input is bound to a constant")
    inputs = _signature([value for value in graph.input if value.name not in bound], INPUTS)
    outputs = _signature(graph.output, OUTPUTS)
    _expect(inputs, {LABEL: onnx.TensorProto.INT64})
    _expect(outputs, {})
    shape = _shape(inputs, outputs)
    if row is not None and tuple(row) != shape.row:
        raise Refusal(Reason.GRAPH_MISMATCH, f"rows are {shape.row}, not {tuple(row)}")
    if classes is not None and classes != shape.classes:
        raise Refusal(Reason.GRAPH_MISMATCH, f"classes are {shape.classes}, not {classes}")
    return shape


def check_same_parameters(
    serving: onnx.ModelProto | bytes, response: onnx.ModelProto | bytes
) -> None:
    """Refuse with GRAPH_MISMATCH unless each weight of `serving` is in `response`, bit for bit.

    A weight is a float initializer of two or more dimensions: what a watermark is written into.
    """
    theirs = _weights(_parse(response))
    for name, tensor in _weights(_parse(serving)).items():
        other = theirs.get(name)
        if other is None:
            raise Refusal(Reason.GRAPH_MISMATCH, f"the response graph has no weight {name!r}")
        if list(other.dims) != list(tensor.dims) or _content(other) != _content(tensor):
            raise Refusal(Reason.GRAPH_MISMATCH, f"weight {name!r} differs between the graphs")


def check_same_forward(
    logits: npt.NDArray[np.float32], response_logits: npt.NDArray[np.float32]
) -> None:
    """Refuse with GRAPH_MISMATCH where two forwards differ by more than `FORWARD_TOLERANCE`."""
    if logits.shape != response_logits.shape:
        raise Refusal(Reason.GRAPH_MISMATCH, "the forwards differ in shape")
    # Written so that NaN, too, refuses.
    if not bool(np.all(np.abs(logits - response_logits) <= FORWARD_TOLERANCE)):
        raise Refusal(Reason.GRAPH_MISMATCH, "the response graph's forward is another model's")


def _parse(model: onnx.ModelProto | bytes) -> onnx.ModelProto:
    try:
        proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else model
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise Refusal(Reason.FORMAT_REFUSED, f"not a valid ONNX model: {error}") from error
    return proto


def _signature(
    values: Sequence[onnx.ValueInfoProto], names: tuple[str, ...]
) -> dict[str, onnx.ValueInfoProto]:
    found = tuple(value.name for value in values)
    if sorted(found) != sorted(names):
        raise Refusal(Reason.GRAPH_MISMATCH, f"the graph has {found}, not {names}")
    return {value.name: value for value in values}


def _expect(values: dict[str, onnx.ValueInfoProto], types: dict[str, int]) -> None:
    for name, value in values.items():
        if value.type.tensor_type.elem_type != types.get(name, onnx.TensorProto.FLOAT):
            raise Refusal(Reason.GRAPH_MISMATCH, f"{name} has the wrong data type")


def _dims(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    if not value.type.tensor_type.HasField("shape"):
        raise Refusal(Reason.GRAPH_MISMATCH, f"{value.name} declares no shape")
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else None
        for dim in value.type.tensor_type.shape.dim
    )


def _shape(
    inputs: dict[str, onnx.ValueInfoProto], outputs: dict[str, onnx.ValueInfoProto]
) -> ResponseShape:
    for name in (EPS, CLIP_MIN, CLIP_MAX):
        if _dims(inputs[name]) != ():
            raise Refusal(Reason.GRAPH_MISMATCH, f"{name} is not a scalar")
    if _dims(inputs[LABEL]) != (None,):
        raise Refusal(Reason.GRAPH_MISMATCH, "label is not one number a row")
    row = _row(X, inputs[X])
    if not row or _row(X_ADV, outputs[X_ADV]) != row:
        raise Refusal(Reason.GRAPH_MISMATCH, "x_adv is not shaped as x is")
    logits, features = _row(LOGITS, outputs[LOGITS]), _row(FEATURES, outputs[FEATURES])
    if len(logits) != 1 or logits[0] < 2:
        raise Refusal(Reason.GRAPH_MISMATCH, "logits are not two classes or more for each row")
    if len(features) != 1 or not 1 <= features[0] <= _MAX_FEATURES:
        raise Refusal(Reason.GRAPH_MISMATCH, "features are not a vector for each row")
    return ResponseShape(row, logits[0], features[0])


def _row(name: str, value: onnx.ValueInfoProto) -> tuple[int, ...]:
    rows, *rest = _dims(value) or (0,)
    if rows is not None:
        raise Refusal(Reason.GRAPH_MISMATCH, f"{name} does not take any number of rows")
    if not all(rest):
        raise Refusal(Reason.GRAPH_MISMATCH, f"{name} has a free dimension beside its rows")
    return tuple(dim for dim in rest if dim)


def _weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) >= 2
    }


def _content(tensor: onnx.TensorProto) -> bytes:
    return bytes(onnx.numpy_helper.to_array(tensor).tobytes())
