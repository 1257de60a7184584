"""Finds a classifier's last layer, and a text model's embeddings, in an ONNX graph.

The search goes back from the logits through a bias, and through what quantization inserts, to the
product of rows with constant weights.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from sealgate.reasons import Reason, SealgateError

Weight = npt.NDArray[np.float32]
_THROUGH = ("Add", "Identity", "QuantizeLinear", "DequantizeLinear")
_PRODUCTS = ("Gemm", "MatMul")


@dataclass(frozen=True, slots=True, eq=False)
class LastLayer:
    """`entered` is the tensor [n, D] that enters it, by name; `weight` is [C, D]."""

    entered: str
    weight: Weight


def find_last_layer(model: bytes, logits: str) -> LastLayer:
    """The last layer of a checked ONNX model. Raises GRAPH_MISMATCH where it does not end in one,
    or where nothing lies before it.
    """
    graph = onnx.load_model_from_string(model).graph
    return _Walk(graph).from_logits(logits)


def find_embeddings(model: bytes, ids: str) -> str:
    """The tensor [n, s, W] that a constant table gives for the input `ids`, by name. Raises
    GRAPH_MISMATCH where there is none.
    """
    return _Walk(onnx.load_model_from_string(model).graph).from_ids(ids)


class _Walk:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._nodes = graph.node

    def from_ids(self, ids: str) -> str:
        same, found = {ids}, []
        for node in self._nodes:
            if node.op_type in ("Cast", "Identity") and node.input[0] in same:
                same.add(node.output[0])
            if node.op_type == "Gather" and node.input[1] in same:
                found.append(node)
        if len(found) != 1 or not self._is_constant(found[0].input[0]):
            raise SealgateError(Reason.GRAPH_MISMATCH, "the graph has no table of embeddings")
        return self._behind_rounding(found[0].output[0])

    def _behind_rounding(self, name: str) -> str:
        """The numbers that integers of these rows become, if they do. A runtime that is asked for
        what lies before them takes the whole table apart, for each run.
        """
        integers = self._follower(name, "QuantizeLinear") or name
        return self._follower(integers, "DequantizeLinear") or name

    def _follower(self, name: str, kind: str) -> str | None:
        """What a node of that kind makes of the tensor."""
        following = (n for n in self._nodes if n.op_type == kind and n.input[0] == name)
        return next((str(node.output[0]) for node in following), None)

    def from_logits(self, name: str) -> LastLayer:
        node = self._makers.get(name)
        while node is not None and node.op_type in _THROUGH:
            node = self._makers.get(self._moving(node))
        if node is None or node.op_type not in _PRODUCTS or len(node.input) < 2:
            raise _refused("it does not end in a product")
        if self._is_constant(node.input[0]) or not self._is_constant(node.input[1]):
            raise _refused("its last product is not one with constant weights")
        return LastLayer(self._before_rounding(node.input[0]), self._weight(node))

    def _weight(self, node: onnx.NodeProto) -> Weight:
        value = self._value(node.input[1])
        options = {option.name: option for option in node.attribute}
        flipped = "transB" in options and options["transB"].i == 1
        if value.ndim != 2 or ("transA" in options and options["transA"].i == 1):
            raise _refused("its last product is of another form")
        alpha = options["alpha"].f if "alpha" in options else 1.0
        return np.ascontiguousarray(alpha * (value if flipped else value.T), np.float32)

    def _before_rounding(self, name: str) -> str:
        """The float tensor behind a pair that quantizes it, which some node makes."""
        node = self._makers.get(name)
        while node is not None and node.op_type in ("DequantizeLinear", "QuantizeLinear"):
            name = node.input[0]
            node = self._makers.get(name)
        if node is None:
            raise _refused("nothing lies before its last layer")
        return name

    def _moving(self, node: onnx.NodeProto) -> str:
        """The input that depends on the rows; of an Add, one of both."""
        moving = [name for name in node.input if name and not self._is_constant(name)]
        if len(moving) != 1:
            raise _refused("it ends in more than one layer")
        return moving[0]

    def _is_constant(self, name: str) -> bool:
        if name in self._constants:
            return True
        node = self._makers.get(name)
        if node is None or node.op_type not in ("DequantizeLinear", "Transpose", "Identity"):
            return False
        return all(self._is_constant(each) for each in node.input if each)

    def _value(self, name: str) -> npt.NDArray[Any]:
        if name in self._constants:
            return np.asarray(numpy_helper.to_array(self._constants[name]))
        node = self._makers[name]
        if node.op_type == "Identity":
            return self._value(node.input[0])
        if node.op_type == "Transpose":
            return self._value(node.input[0]).T
        stored, scale, *zero = (self._value(each) for each in node.input if each)
        axis = next((option.i for option in node.attribute if option.name == "axis"), 1)
        along = [1] * stored.ndim
        if scale.size > 1:
            along[axis] = -1
        shift = zero[0].astype(np.float32).reshape(along) if zero else np.float32(0)
        found: npt.NDArray[Any] = (stored.astype(np.float32) - shift) * scale.reshape(along)
        return found


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.GRAPH_MISMATCH, f"the graph has no last layer: {detail}")
