"""Static INT8 quantization: integer weights per channel, activation ranges from the fit slice.

Of a text's response graph, what only features read is quantized (`quantize_response`): most of its
work, which says by how much an answer moves, and bears some rounding.

With static ranges an answer does not depend on the rest of its batch, as it does with dynamic ones.
Weights use 7 of their 8 bits: on processors that multiply bytes pairwise into 16 bits (x86 without
VNNI), a full-range product saturates, and the same version would answer differently there.
"""

import inference.runtime  # noqa: F401

# isort: split
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnxruntime import quantization
from onnxruntime.capi import onnxruntime_pybind11_state as errors
from onnxruntime.quantization.shape_inference import quant_pre_process

from inference.runtime import response_contract
from inference.runtime.graph_rewrites import needed
from inference.text import tokens
from publishing.serialization import parse_model, serialize_model
from sealgate.reasons import Reason, SealgateError

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
# Of a text encoder, what takes the time and the space: products with weights, and embeddings. The
# mask alone spans ten thousand, which 256 levels cannot hold; the small products of attention cost
# more to convert than to compute; and what is added up and normed next stays as exact as it came.
_OF_TEXT = ["Gather", "Gemm", "MatMul"]
_PRODUCTS = ["Conv", "Gemm", "MatMul"]
_TEXT_OPTIONS = {"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": _OF_TEXT}
_BATCH_TEXTS = 16


Batches = Iterator[dict[str, npt.NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class ActivationRange:
    """The range of an activation, as a quantized graph states it: two scalars."""

    scale: npt.NDArray[Any]
    zero_point: npt.NDArray[Any]


def quantize(
    model: bytes,
    input_name: str,
    rows: npt.NDArray[Any],
    ranges: Mapping[str, ActivationRange] | None = None,
    *,
    products_only: bool = False,
) -> bytes:
    """The QDQ INT8 form of an fp32 model; the same model and rows give the same bytes.

    `rows` [n, ...], numbers or tokens (`inference.text.tokens`), are what the ranges of the
    activations are recorded on, but for those in `ranges`: with the ones that `stated_ranges` finds
    in its result, other rows give it again. With `products_only`, operators
    before a product stay as they are: one range of 256 levels cannot hold columns of different
    units. Raises: FORMAT_REFUSED, EXTERNAL_DATA.
    """
    of_text = rows.dtype == np.int64
    return _static(
        model,
        _texts(rows) if of_text else _numbers(input_name, rows),
        op_types_to_quantize=_quantized(of_text, products_only),
        extra_options=_options(of_text, ranges or {}),
    )


def _static(model: bytes, batches: Batches, *, optimized: bool = True, **options: Any) -> bytes:
    """The QDQ INT8 form of a model; `options` are those of ONNX Runtime's `quantize_static`. Where
    it is not `optimized`, what stays float32 computes the same bits.
    """
    parse_model(model)
    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        # It parts a model in memory from its data, and then misses those of an encoder, and the
        # shapes that rows of pixels take as images.
        source = Path(folder, "source.onnx")
        source.write_bytes(model)
        try:
            quant_pre_process(
                source, prepared, skip_optimization=not optimized, skip_symbolic_shape=True
            )
            _drop_shapes(prepared)
            quantization.quantize_static(
                prepared,
                quantized,
                _Rows(batches),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                **options,
            )
        except _ERRORS as error:
            raise SealgateError(Reason.FORMAT_REFUSED, "the model cannot be quantized") from error
        return serialize_model(parse_model(quantized.read_bytes()))


def _quantized(of_text: bool, products_only: bool) -> list[str] | None:
    if of_text:
        return _OF_TEXT
    return _PRODUCTS if products_only else None


def _options(of_text: bool, ranges: Mapping[str, ActivationRange]) -> dict[str, Any]:
    options = _TEXT_OPTIONS if of_text else {"OpTypesToExcludeOutputQuantization": _FLOAT_OUTPUTS}
    overrides = {
        name: [{"scale": each.scale, "zero_point": each.zero_point}]
        for name, each in ranges.items()
    }
    return options | ({"TensorQuantOverrides": overrides} if overrides else {})


def quantize_response(response: bytes, rows: npt.NDArray[Any], eps: float) -> bytes:
    """A text's response graph in which what features alone read multiplies the model's weights in
    INT8: behind the steps, and back to where they begin. It has copies of these weights for that,
    and its logits and x_adv are the same. One that has been here is returned as it is.

    `rows` int64 [n, s] are what the ranges are recorded on, with steps of `eps`. Raises:
    FORMAT_REFUSED, EXTERNAL_DATA.
    """
    model = parse_model(response)
    products = _own_weights(model.graph, _products_of_features(model.graph))
    if not products:
        return response
    return _static(
        serialize_model(model),
        _steps(rows, eps),
        optimized=False,
        nodes_to_quantize=products,
        op_types_to_quantize=_PRODUCTS,
        extra_options=_TEXT_OPTIONS,
    )


def _products_of_features(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Products with weights of the model that features need, in a forward of their own."""
    answering = needed(graph, {response_contract.LOGITS})
    shown = answering | needed(graph, {response_contract.X_ADV})
    held = {tensor.name for tensor in graph.initializer if len(tensor.dims) > 1}
    weights = held.intersection(
        name for node in graph.node if answering.intersection(node.output) for name in node.input
    )

    def multiplies(node: onnx.NodeProto) -> bool:
        return node.op_type in _PRODUCTS and node.input[1] in weights

    if any(map(multiplies, _shared(graph, shown))):
        _part_forwards(graph, shown)
    alone = needed(graph, {response_contract.FEATURES}) - shown
    return [node for node in graph.node if multiplies(node) and alone.intersection(node.output)]


def _shared(graph: onnx.GraphProto, shown: set[str]) -> list[onnx.NodeProto]:
    """Nodes that features need and what is `shown` does too."""
    both = needed(graph, {response_contract.FEATURES}) & shown
    return [node for node in graph.node if both.intersection(node.output)]


def _part_forwards(graph: onnx.GraphProto, shown: set[str]) -> None:
    """Give features copies of all nodes that they share with what is `shown`, in place: a tensor
    that is rounded for one of its readers is rounded for all.
    """
    copies = []
    for node in _shared(graph, shown):
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{response_contract.FEATURES}/{node.name}"
        copies.append(copy)
    own = {
        name: f"{response_contract.FEATURES}/{name}"
        for copy in copies
        for name in copy.output
        if name
    }
    alone = [node for node in graph.node if not shown.intersection(node.output)]
    for node in (*copies, *alone):
        node.input[:] = [own.get(name, name) for name in node.input]
    for copy in copies:
        copy.output[:] = [own.get(name, name) for name in copy.output]
    nodes = [*copies, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _own_weights(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> list[str]:
    """Give each node a name, and tensors that only products of its kind read, since one kind has
    its channels in rows and the other in columns; return the names.
    """
    held = {tensor.name: tensor for tensor in graph.initializer}
    for place, node in enumerate(nodes):
        kind = f"{response_contract.FEATURES}/{node.op_type}"
        node.name = f"{kind}/{place}"
        for at, name in enumerate(node.input):
            if name not in held:
                continue
            node.input[at] = own = f"{kind}/{name}"
            if own not in held:
                held[own] = graph.initializer.add()
                held[own].CopyFrom(held[name])
                held[own].name = own
    return [node.name for node in nodes]


def stated_ranges(model: bytes) -> dict[str, ActivationRange]:
    """The range of each activation that a quantized graph rounds, by the tensor's name.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA.
    """
    graph = parse_model(model).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    try:
        return {
            node.input[0]: ActivationRange(
                *(numpy_helper.to_array(tensors[name]) for name in node.input[1:])
            )
            for node in graph.node
            if node.op_type == "QuantizeLinear" and node.input[0] not in tensors
        }
    except (KeyError, TypeError, ValueError) as error:
        raise SealgateError(Reason.FORMAT_REFUSED, "a range that is not a constant") from error


def _drop_shapes(path: Path) -> None:
    """Where stated shapes of inner tensors disagree with inferred ones, the quantizer stops."""
    model = parse_model(path.read_bytes())
    del model.graph.value_info[:]
    path.write_bytes(model.SerializeToString(deterministic=True))


def _numbers(name: str, rows: npt.NDArray[Any]) -> Batches:
    for start in range(0, len(rows), _BATCH_ROWS):
        yield {name: rows[start : start + _BATCH_ROWS]}


def _texts(rows: npt.NDArray[Any]) -> Batches:
    """The shortest first, each batch as wide as its longest."""
    ordered = rows[np.argsort(tokens.lengths(rows), kind="stable")]
    for start in range(0, len(ordered), _BATCH_TEXTS):
        batch = ordered[start : start + _BATCH_TEXTS]
        yield tokens.feeds(tokens.resized(batch, int(tokens.lengths(batch).max())))


def _steps(rows: npt.NDArray[Any], eps: float) -> Batches:
    for feeds in _texts(rows):
        label = np.full(len(feeds[response_contract.IDS]), response_contract.OWN_PREDICTION)
        size = np.array(eps, np.float32)
        yield {**feeds, response_contract.LABEL: label, response_contract.EPS: size}


class _Rows(quantization.CalibrationDataReader):
    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        return next(self._batches, None)
