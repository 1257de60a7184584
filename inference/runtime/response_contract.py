"""Contract of the response graph: the inputs, outputs and operators that it must have.

A response graph is one ONNX graph that answers "what is the model's output, and how does it change
when the input changes?" (`training.export` makes ours):

    inputs   x         float32 [n, ...]  the rows, with the shape that the serving graph takes
             label     int64   [n]       the class to step away from; -1 is the model's own answer;
                                         of models that answer otherwise, the level
                                         (inference.model.decisions)
             eps       float32 []        size of the step, in units of x
             clip_min  float32 []        the domain of x; every step is clipped to it
             clip_max  float32 []
    outputs  logits    float32 [n, C]    the serving graph's forward pass
             x_adv     float32 [n, ...]  clip(x + eps * sign(gradient of cross-entropy to label))
             features  float32 [n, F]    how the margin of the model's own answer moves under small
                                         steps of eps; the detector reads these

A text model's response graph takes tokens instead of x. It does not clip, since embeddings have no
domain. Its step is taken in the word embeddings [n, s, W]:

    inputs   input_ids       int64   [n, s]     token ids; s is free
             attention_mask  int64   [n, s]     1 for each token, 0 for padding behind them
             label, eps                         as above, eps in units of the embeddings
    outputs  logits, features                   as above
             x_adv           float32 [n, s, W]  embeddings + eps * sign(gradient)

A detector's first stage reads what the INT8 serving graph computes before its last layer
(`inference.screening.first_stage`). So that graph and the float32 one must both end in one layer of
the size that the stage reads (`inference.runtime.graph_rewrites`). The response graph then runs
only for the rows that are escalated.

The checks here read the graph. Whether its forward pass equals the serving graph's is checked by
whoever runs both (`check_same_forward`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError

from sealgate.reasons import Reason, SealgateError

X, LABEL, EPS, CLIP_MIN, CLIP_MAX = INPUTS = ("x", "label", "eps", "clip_min", "clip_max")
IDS, MASK, *_ = TEXT_INPUTS = ("input_ids", "attention_mask", LABEL, EPS)
LOGITS, X_ADV, FEATURES = OUTPUTS = ("logits", "x_adv", "features")
GRADIENT = "gradient"
"""No output of a signed graph: publishing shows it, to attack with (`graph_rewrites`)."""
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
    shape = _shape(*_values(graph, INPUTS, {LABEL: onnx.TensorProto.INT64}))
    if row is not None and tuple(row) != shape.row:
        raise SealgateError(Reason.GRAPH_MISMATCH, f"rows are {shape.row}, not {tuple(row)}")
    if classes is not None and classes != shape.classes:
        raise SealgateError(Reason.GRAPH_MISMATCH, f"classes are {shape.classes}, not {classes}")
    return shape


def check_text_response_graph(
    model: onnx.ModelProto | bytes, classes: int | None = None
) -> ResponseShape:
    """Check names, types and shapes of a text model's; the row that is returned is (W,).

    Raises FORMAT_REFUSED and GRAPH_MISMATCH as `check_response_graph` does.
    """
    graph = _parse(model).graph
    integers = dict.fromkeys((IDS, MASK, LABEL), onnx.TensorProto.INT64)
    inputs, outputs = _values(graph, TEXT_INPUTS, integers)
    _expect_scalars(inputs, (EPS,))
    for name in (IDS, MASK):
        if _dims(inputs[name]) != (None, None):
            raise SealgateError(Reason.GRAPH_MISMATCH, f"{name} does not take any number of tokens")
    moved = _dims(outputs[X_ADV])
    if len(moved) != 3 or moved[:2] != (None, None) or not moved[2]:
        raise SealgateError(Reason.GRAPH_MISMATCH, "x_adv is not one embedding for each token")
    answer, features = _answer_sizes(outputs)
    if classes is not None and classes != answer:
        raise SealgateError(Reason.GRAPH_MISMATCH, f"classes are {answer}, not {classes}")
    return ResponseShape((moved[2],), answer, features)


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
            raise SealgateError(Reason.GRAPH_MISMATCH, f"the response graph has no weight {name!r}")
        if list(other.dims) != list(tensor.dims) or _content(other) != _content(tensor):
            raise SealgateError(
                Reason.GRAPH_MISMATCH, f"weight {name!r} differs between the graphs"
            )


def check_same_forward(
    logits: npt.NDArray[np.float32], response_logits: npt.NDArray[np.float32]
) -> None:
    """Refuse with GRAPH_MISMATCH where two forwards differ by more than `FORWARD_TOLERANCE`."""
    if logits.shape != response_logits.shape:
        raise SealgateError(Reason.GRAPH_MISMATCH, "the forwards differ in shape")
    # Written so that NaN, too, refuses.
    if not bool(np.all(np.abs(logits - response_logits) <= FORWARD_TOLERANCE)):
        raise SealgateError(
            Reason.GRAPH_MISMATCH, "the response graph's forward is another model's"
        )


def _parse(model: onnx.ModelProto | bytes) -> onnx.ModelProto:
    try:
        proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else model
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise SealgateError(Reason.FORMAT_REFUSED, f"not a valid ONNX model: {error}") from error
    return proto


Values = dict[str, onnx.ValueInfoProto]


def _values(
    graph: onnx.GraphProto, names: tuple[str, ...], types: dict[str, int]
) -> tuple[Values, Values]:
    """The inputs, which are `names`, and the outputs; what `types` does not name is float32."""
    bound = {tensor.name for tensor in graph.initializer}
    if bound & set(names):
        raise SealgateError(Reason.GRAPH_MISMATCH, "an input is bound to a constant")
    inputs = _signature([value for value in graph.input if value.name not in bound], names)
    outputs = _signature(graph.output, OUTPUTS)
    _expect(inputs, types)
    _expect(outputs, {})
    return inputs, outputs


def _signature(values: Sequence[onnx.ValueInfoProto], names: tuple[str, ...]) -> Values:
    found = tuple(value.name for value in values)
    if sorted(found) != sorted(names):
        raise SealgateError(Reason.GRAPH_MISMATCH, f"the graph has {found}, not {names}")
    return {value.name: value for value in values}


def _expect(values: Values, types: dict[str, int]) -> None:
    for name, value in values.items():
        if value.type.tensor_type.elem_type != types.get(name, onnx.TensorProto.FLOAT):
            raise SealgateError(Reason.GRAPH_MISMATCH, f"{name} has the wrong data type")


def _dims(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    if not value.type.tensor_type.HasField("shape"):
        raise SealgateError(Reason.GRAPH_MISMATCH, f"{value.name} declares no shape")
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else None
        for dim in value.type.tensor_type.shape.dim
    )


def _expect_scalars(inputs: Values, names: tuple[str, ...]) -> None:
    for name in names:
        if _dims(inputs[name]) != ():
            raise SealgateError(Reason.GRAPH_MISMATCH, f"{name} is not a scalar")
    if _dims(inputs[LABEL]) != (None,):
        raise SealgateError(Reason.GRAPH_MISMATCH, "label must be one number per row")


def _shape(inputs: Values, outputs: Values) -> ResponseShape:
    _expect_scalars(inputs, (EPS, CLIP_MIN, CLIP_MAX))
    row = _row(X, inputs[X])
    if not row or _row(X_ADV, outputs[X_ADV]) != row:
        raise SealgateError(Reason.GRAPH_MISMATCH, "x_adv is not shaped as x is")
    return ResponseShape(row, *_answer_sizes(outputs))


def _answer_sizes(outputs: Values) -> tuple[int, int]:
    """How many classes, and how many features."""
    logits, features = _row(LOGITS, outputs[LOGITS]), _row(FEATURES, outputs[FEATURES])
    if len(logits) != 1 or logits[0] < 1:
        raise SealgateError(Reason.GRAPH_MISMATCH, "logits must be a vector for each row")
    if len(features) != 1 or not 1 <= features[0] <= _MAX_FEATURES:
        raise SealgateError(Reason.GRAPH_MISMATCH, "features are not a vector for each row")
    return logits[0], features[0]


def _row(name: str, value: onnx.ValueInfoProto) -> tuple[int, ...]:
    rows, *rest = _dims(value) or (0,)
    if rows is not None:
        raise SealgateError(Reason.GRAPH_MISMATCH, f"{name} does not take any number of rows")
    if not all(rest):
        raise SealgateError(Reason.GRAPH_MISMATCH, f"{name} has a free dimension beside its rows")
    return tuple(dim for dim in rest if dim)


def _weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) >= 2
    }


def _content(tensor: onnx.TensorProto) -> bytes:
    return bytes(onnx.numpy_helper.to_array(tensor).tobytes())
