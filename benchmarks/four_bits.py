"""Stores every large weight of a QDQ graph in 4 bits (ONNX's INT4, opset 21).

    quantized weights   training with 4 bits to a weight leaves whole numbers from -8 to 7, which
                        the exported graph (`training.steps.quantization.to_onnx`) keeps in a byte
                        each. Here they are written two to a byte, the first in the lower half. A
                        zero point of zeros is what ONNX assumes without one, so it is left out.
                        Answers stay the same.
    embeddings          float32 tables [n, width] that `Gather` alone reads are rounded, one scale
                        for each `BLOCK` columns of a row, and read by `GatherBlockQuantized` of
                        ONNX Runtime, which looks up rows without expanding the table.
    other float32       arrays of `LEAST_WEIGHTS` elements or more are rounded in the same blocks,
                        along their last axis, behind a `DequantizeLinear`.

Biases, norms and scales stay in float32. All but the graph is left out of a file, and inner tensors
get short names: they are most of a small network's file.
"""

from collections.abc import Callable, Iterable
from itertools import count

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sealgate.reasons import Reason, SealgateError

LEAST, MOST = -8, 7
BLOCK = 32
LEAST_WEIGHTS = 1_000
_DEQUANTIZE, _LOOK_UP = "DequantizeLinear", "GatherBlockQuantized"
_MICROSOFT = "com.microsoft"
_OPSET = 21
# Of the scale that holds a block's largest weight: those of less clip it, for less error elsewhere.
_SCALES = (1.0, 0.93, 0.86, 0.79)
Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int8]


def store_in_four_bits(graph: bytes) -> bytes:
    """The same ONNX graph, with every large weight in 4 bits.

    Raises SealgateError: FORMAT_REFUSED without quantized weights, where one needs more than 4
    bits, where its zero point is not 0, and below opset 21.
    """
    model = onnx.load_from_string(graph)
    opset = max((each.version for each in model.opset_import if not each.domain), default=0)
    if opset < _OPSET:
        raise _refused(f"opset {opset} has no INT4")
    _pack_quantized(model.graph)
    for tensor in [each for each in model.graph.initializer if _is_large(each)]:
        _round(model, tensor)
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    _strip(model)
    return bytes(model.SerializeToString(deterministic=True))


def in_blocks(values: Floats) -> tuple[Whole, Floats]:
    """Numbers from -8 to 7 in the shape of `values` [..., n], and scales [..., ceil(n / BLOCK)]:
    of each block the one, of a few, with the least square error.
    """
    behind = -values.shape[-1] % BLOCK
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, behind)])
    blocks = padded.reshape(*values.shape[:-1], -1, BLOCK)
    largest = np.abs(blocks).max(-1, keepdims=True) / MOST
    largest[largest == 0] = 1
    scales, least = largest, np.full(largest.shape, np.inf, np.float32)
    for share in _SCALES:
        tried = largest * np.float32(share)
        off = np.square(_rounded(blocks, tried) * tried - blocks).sum(-1, keepdims=True)
        scales = np.where(off < least, tried, scales)
        least = np.minimum(off, least)
    whole = _rounded(blocks, scales).astype(np.int8).reshape(padded.shape)
    return whole[..., : values.shape[-1]], scales[..., 0]


def _rounded(blocks: Floats, scales: Floats) -> Floats:
    found: Floats = np.rint(blocks / scales).clip(LEAST, MOST)
    return found


def _pack_quantized(graph: onnx.GraphProto) -> None:
    """The weights that are whole numbers already, in place."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    packed = 0
    for node in graph.node:
        tensor = held.get(node.input[0]) if node.op_type == _DEQUANTIZE else None
        if tensor is not None and tensor.data_type == TensorProto.INT8:
            if any(numpy_helper.to_array(held[name]).any() for name in node.input[2:]):
                raise _refused(f"the zero point of {tensor.name} is not 0")
            _pack(tensor, numpy_helper.to_array(tensor))
            del node.input[2:]
            packed += 1
    if not packed:
        raise _refused("the graph has no quantized weights")


def _pack(tensor: onnx.TensorProto, values: npt.NDArray[np.generic]) -> None:
    """In place; an odd number of values is filled up with a zero."""
    flat = values.ravel()
    if flat.min(initial=0) < LEAST or flat.max(initial=0) > MOST:
        raise _refused(f"{tensor.name} needs more than 4 bits")
    pairs = np.append(flat, np.zeros(flat.size % 2, np.int8)).reshape(-1, 2).astype(np.uint8)
    for field in ("int32_data", "float_data"):
        tensor.ClearField(field)
    tensor.data_type = TensorProto.INT4
    tensor.raw_data = (pairs[:, 0] & 15 | pairs[:, 1] << 4).tobytes()


def _is_large(tensor: onnx.TensorProto) -> bool:
    many = len(tensor.dims) > 1 and np.prod(tensor.dims) >= LEAST_WEIGHTS
    return bool(many) and tensor.data_type == TensorProto.FLOAT


def _round(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """A float32 array, in place: it becomes an initializer of 4 bits with its scales beside it."""
    graph, name = model.graph, tensor.name
    whole, scales = in_blocks(numpy_helper.to_array(tensor))
    _pack(tensor, whole)
    graph.initializer.append(numpy_helper.from_array(scales, f"{name}_scales"))
    readers = [node for node in graph.node if name in node.input]
    if whole.ndim == 2 and all(_looks_up(node, name) for node in readers):
        for node in readers:
            node.CopyFrom(_look_up(node, f"{name}_scales"))
        if all(each.domain != _MICROSOFT for each in model.opset_import):
            model.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))
        return
    exact = f"{name}_exact"
    for node in readers:
        node.input[:] = [exact if each == name else each for each in node.input]
    given = [name, f"{name}_scales"]
    graph.node.insert(
        0,
        helper.make_node(_DEQUANTIZE, given, [exact], axis=whole.ndim - 1, block_size=BLOCK),
    )


def _looks_up(node: onnx.NodeProto, table: str) -> bool:
    """Whether a node reads rows of that table, and nothing else of it."""
    axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
    return node.op_type == "Gather" and axis == 0 and list(node.input).index(table) == 0


def _look_up(node: onnx.NodeProto, scales: str) -> onnx.NodeProto:
    return helper.make_node(
        _LOOK_UP,
        [*node.input, scales],
        list(node.output),
        domain=_MICROSOFT,
        gather_axis=0,
        quantize_axis=1,
        block_size=BLOCK,
    )


def _strip(model: onnx.ModelProto) -> None:
    """Keep what computes, under short names, in place."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for item in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        item.ClearField("doc_string")
    for node in graph.node:
        del node.metadata_props[:]
        node.ClearField("name")
        _drop_defaults(node, model)
    if any(each.HasField("g") or each.graphs for node in graph.node for each in node.attribute):
        return  # bodies read the names of the graph around them
    short = _short_names({each.name for each in (*graph.input, *graph.output)})
    for node in graph.node:
        node.input[:] = map(short, node.input)
        node.output[:] = map(short, node.output)
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)


def _drop_defaults(node: onnx.NodeProto, model: onnx.ModelProto) -> None:
    """Leave out the attributes that say what ONNX assumes of them."""
    opset = next((each.version for each in model.opset_import if each.domain == node.domain), 0)
    if node.domain or not onnx.defs.has(node.op_type, max_inclusive_version=opset):
        return
    known = onnx.defs.get_schema(node.op_type, opset).attributes
    kept = [
        each
        for each in node.attribute
        if each.name not in known or each != _default(known[each.name])
    ]
    del node.attribute[:]
    node.attribute.extend(kept)


def _default(attribute: onnx.defs.OpSchema.Attribute) -> onnx.AttributeProto:
    """What ONNX assumes, empty if nothing."""
    found: onnx.AttributeProto = attribute.default_value
    return found


def _short_names(kept: Iterable[str]) -> Callable[[str], str]:
    """Names of inner tensors, but for those that are kept, and for none."""
    named = {"": "", **{name: name for name in kept}}
    free = (name for name in (f"{number:x}" for number in count()) if name not in named)

    def short(name: str) -> str:
        if name not in named:
            named[name] = next(free)
        return named[name]

    return short


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.FORMAT_REFUSED, detail)
