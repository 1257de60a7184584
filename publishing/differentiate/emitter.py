"""Appends nodes and constants to an ONNX graph, and what the rules of differentiation share.

A rule is given a node and the gradients of its outputs, None where an output has no part in the
result. It returns those of the node's inputs, in order, None where there is none; the end may be
left out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from publishing.differentiate.measured import MeasuredNode


class Emitter:
    """Collects what is appended. Equal constants become one initializer."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output; returns its name."""
        return self.several(kind, inputs, 1, **attributes)[0]

    def several(
        self, kind: str, inputs: tuple[str, ...], outputs: int, **attributes: Any
    ) -> list[str]:
        """Append a node with so many outputs; returns their names."""
        names = [self._new(kind) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def constant(self, value: npt.NDArray[Any], name: str | None = None) -> str:
        """The name of an initializer with this content; `name`, if given, must be a new one."""
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if name is None and key in self._known:
            return self._known[key]
        given = name or self._new("constant")
        self._known.setdefault(key, given)
        self.initializers.append(numpy_helper.from_array(array, given))
        return given

    def number(self, value: float) -> str:
        """A float32 scalar."""
        return self.constant(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        """An int64 vector."""
        return self.constant(np.array(values, np.int64))

    def shape(self, name: str) -> str:
        """The shape of a tensor."""
        return self.op("Shape", name)

    def zeros_like(self, name: str) -> str:
        """Zeros of the shape of a float32 tensor."""
        return self.op("Expand", self.number(0.0), self.shape(name))

    def sum(self, name: str, *axes: int, keep: bool = True) -> str:
        """The sum over these axes."""
        return self.op("ReduceSum", name, self.integers(*axes), keepdims=int(keep))

    def mean(self, name: str, *axes: int, keep: bool = True) -> str:
        """The mean over these axes."""
        return self.op("ReduceMean", name, self.integers(*axes), keepdims=int(keep))

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}/{kind}_{self._count}"


Gradients = Sequence[str | None]
Rule = Callable[[Emitter, MeasuredNode, Gradients], Sequence[str | None]]


def only(gradients: Gradients) -> str:
    """The gradient of an operator's one output."""
    found = gradients[0]
    assert found is not None  # noqa: S101 - a rule is asked only where there is one
    return found


def summed_to(e: Emitter, node: MeasuredNode, gradient: str, place: int) -> str:
    """The gradient of an input that was broadcast to the shape of the output."""
    small, large = node.input(place).dims, node.output().dims
    lead = len(large) - len(small)
    axes = [
        axis
        for axis, dims in enumerate(large)
        if axis < lead or (small[axis - lead] == (1, 1) and dims != (1, 1))
    ]
    if axes:
        gradient = e.sum(gradient, *axes)
    return e.op("Reshape", gradient, e.shape(node.inputs[place])) if lead else gradient


def stopped(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """The rule of operators that are constant between their steps."""
    return ()
