"""Graphs under differentiation: one whose tensors' shapes were measured, and nodes appended to it.

Rules of differentiation must know which dimensions are broadcast. Exporters state shapes
incompletely, so they are not read but measured: by two runs, with two and with three rows. A
dimension is a pair: its size in either run. It belongs to the rows if both differ.

A rule is given a node and the gradients of its outputs, None where an output has no part in the
result. It returns those of the node's inputs, in order, None where there is none; the end may be
left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from inference.runtime.session import Session
from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[Any]
Dims = tuple[tuple[int, int], ...]
_RUNS = (2, 3)


@dataclass(frozen=True, slots=True)
class MeasuredTensor:
    """The dimensions and the NumPy type of a tensor."""

    dims: Dims
    dtype: np.dtype[Any]

    @property
    def rank(self) -> int:
        return len(self.dims)

    def fixed(self, axis: int) -> int:
        """The size of an axis that does not depend on the rows. Raises GRAPH_MISMATCH."""
        one, other = self.dims[axis]
        if one != other:
            raise SealgateError(Reason.GRAPH_MISMATCH, f"axis {axis} is that of the rows")
        return one


class MeasuredNode:
    """A node with its attributes, the measured tensors and the constants that it reads."""

    def __init__(self, proto: onnx.NodeProto, graph: "MeasuredGraph") -> None:
        self.proto = proto
        self.kind = str(proto.op_type)
        self.inputs = list(proto.input)
        self.outputs = list(proto.output)
        self._graph = graph
        self._given = {each.name: helper.get_attribute_value(each) for each in proto.attribute}

    @property
    def name(self) -> str:
        """The operator: `domain:kind`, or the kind alone of ONNX's own."""
        domain = self.proto.domain
        return self.kind if domain in ("", "ai.onnx") else f"{domain}:{self.kind}"

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, with text as `str`."""
        value = self._given.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def input(self, place: int) -> MeasuredTensor:
        return self._graph.tensors[self.inputs[place]]

    def output(self) -> MeasuredTensor:
        """The first output."""
        return self._graph.tensors[self.outputs[0]]

    def has(self, place: int) -> bool:
        """Whether an optional input is given."""
        return len(self.inputs) > place and bool(self.inputs[place])

    def value(self, place: int) -> Array:
        """The constant that is read at this place. Raises GRADIENT_MISSING where it is none."""
        found = self._graph.constants.get(self.inputs[place])
        if found is None:
            raise self.refusal(f"its input {place} is not a constant")
        return found

    def axis(self, default: int) -> int:
        """The attribute `axis` of the first input, counted from the front."""
        return int(self.attribute("axis", default)) % self.input(0).rank

    def refusal(self, detail: str) -> SealgateError:
        """That this node cannot be differentiated."""
        name = f"{self.name} ({self.proto.name or self.outputs[0]})"
        return SealgateError(
            Reason.GRADIENT_MISSING,
            f"{name}: {detail}; export the model without it, or publish with --without-gradient,"
            " which screens a table by finite differences, or --without-screening, where the policy"
            " lets the model go without",
        )


@dataclass(frozen=True, eq=False)
class MeasuredGraph:
    """A checked model with one input of rows, and what was measured of it."""

    model: onnx.ModelProto
    row_input: str
    tensors: Mapping[str, MeasuredTensor]
    constants: Mapping[str, Array]

    @classmethod
    def of(cls, model: onnx.ModelProto, row_input: str, rows: Array) -> "MeasuredGraph":
        """Runs the model on the first of these rows. Raises GRAPH_MISMATCH where it does not take
        any number of rows.
        """
        names = [name for node in model.graph.node for name in node.output if name]
        shown = _showing(model, names)
        runs = [_run(shown, names, {row_input: rows[:count]}) for count in _RUNS]
        found = {row_input: _tensor(rows[:2], rows[:3])}
        found |= {name: _tensor(*pair) for name, *pair in zip(names, *runs, strict=True)}
        constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        moving = cls._moving(model, row_input)
        # A value that depends on no row is the same in every run.
        constants |= {
            name: value
            for name, value in zip(names, runs[0], strict=True)
            if name not in moving and isinstance(value, np.ndarray)
        }
        found |= {name: _tensor(value, value) for name, value in constants.items()}
        return cls(model, row_input, found, constants)

    @staticmethod
    def _moving(model: onnx.ModelProto, row_input: str) -> set[str]:
        moving = {row_input}
        for node in model.graph.node:
            if moving.intersection(node.input):
                moving.update(node.output)
        return moving

    @cached_property
    def moving(self) -> frozenset[str]:
        """Tensors that depend on the rows."""
        return frozenset(self._moving(self.model, self.row_input))

    @cached_property
    def active(self) -> frozenset[str]:
        """Tensors that depend on the rows by way of real numbers alone."""
        active = {self.row_input}
        for node in self.model.graph.node:
            if active.intersection(node.input):
                active.update(n for n in node.output if n and self._is_real(n))
        return frozenset(active)

    def nodes(self) -> Iterator[MeasuredNode]:
        for proto in self.model.graph.node:
            yield MeasuredNode(proto, self)

    def showing(self, names: Sequence[str]) -> bytes:
        """The model with these tensors as its outputs."""
        return _showing(self.model, names)

    def _is_real(self, name: str) -> bool:
        return np.issubdtype(self.tensors[name].dtype, np.floating)


def _run(shown: bytes, names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
    try:
        return Session.open(shown, names).run(feeds)
    except SealgateError as refusal:
        count = len(next(iter(feeds.values())))
        raise SealgateError(
            Reason.GRAPH_MISMATCH,
            f"the model does not run on {count} rows of the data: export it with a free first"
            f" dimension ({refusal.detail[:300]})",
        ) from refusal


def _tensor(one: Array, other: Array) -> MeasuredTensor:
    if not isinstance(one, np.ndarray) or one.ndim != np.ndim(other):
        # A list or a map: nothing that a gradient passes through.
        return MeasuredTensor((), np.dtype(object))
    return MeasuredTensor(tuple(zip(one.shape, other.shape, strict=True)), one.dtype)


def _showing(model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.value_info[:]
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return bytes(shown.SerializeToString(deterministic=True))


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


def broadcast_axes(small: Dims, large: Dims) -> list[int]:
    """The axes of `large` along which a tensor of the shape `small` was broadcast to it."""
    lead = len(large) - len(small)
    return [
        axis
        for axis, dims in enumerate(large)
        if axis < lead or (small[axis - lead] == (1, 1) and dims != (1, 1))
    ]


def summed_to(e: Emitter, node: MeasuredNode, gradient: str, place: int) -> str:
    """The gradient of an input that was broadcast to the shape of the output."""
    small, large = node.input(place).dims, node.output().dims
    lead, axes = len(large) - len(small), broadcast_axes(small, large)
    if axes:
        gradient = e.sum(gradient, *axes)
    return e.op("Reshape", gradient, e.shape(node.inputs[place])) if lead else gradient


def stopped(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """The rule of operators that are constant between their steps."""
    return ()
