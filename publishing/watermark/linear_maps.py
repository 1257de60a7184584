"""Reads what a graph multiplies with in effect: products and sums of its weights.

A matrix may be stored as two factors, as a sum, in parts, times a constant, or computed by the
graph itself, and the graph computes the same. Each tensor is followed as a sum of matrices times
earlier tensors, through operators that are linear in them. Where an operator that is not takes it,
those matrices are the network's, however they are stored.

Constants are computed by ONNX's reference implementation, of a few operators alone. Computed
tensors hold no more numbers than a multiple of those in the file; larger ones are not read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from publishing.watermark.dequantize import Array, Floats

_COMPUTED = frozenset(
    [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Neg",
        "MatMul",
        "Transpose",
        "Concat",
        "Identity",
        "Cast",
        "DequantizeLinear",
    ]
)
# Computed tensors may hold so many numbers for each that the file holds.
_GROWTH = 8
_LEAST_ROOM = 1 << 20
_AS_IT_IS = frozenset(("Identity", "Cast", "Dropout", "Flatten", "Reshape"))
_POINT = ((1, 1), (0, 0, 0, 0), 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Factor:
    """A tensor's factor: a matrix [in, out], a kernel [out, in, h, w] moved as `window` says, or
    none. `merged` is whether several weights made it.
    """

    values: Floats | None = None
    merged: bool = False
    window: tuple[Any, ...] = ()

    def scaled(self, by: Floats) -> "_Factor":
        """Times one number, or one for each output."""
        if self.values is None:
            return self
        spread = by if by.size == 1 else by.reshape((-1, 1, 1, 1) if self.window else (1, -1))
        return replace(self, values=(self.values * spread.reshape(spread.shape or (1,))))

    def dense(self, size: int) -> Floats:
        return np.eye(size, dtype=np.float32) if self.values is None else self.values

    @property
    def width(self) -> int:
        return 0 if self.values is None else self.values.shape[0 if self.window else 1]


# By the tensor that is multiplied.
_Terms = Mapping[str, _Factor]


class _NotLinearError(Exception):
    """The tensor is followed no further."""


def effective_weights(graph: onnx.GraphProto, least: int) -> Iterator[tuple[str, Floats]]:
    """Matrices and kernels of at least that many numbers, output channels first, which several
    weights make together.
    """
    maps = _Maps(graph)
    told: set[int] = set()
    for name in maps.ends():
        for source, factor in maps.terms(name).items():
            values = factor.values
            if values is None or not factor.merged or values.size < least or id(values) in told:
                continue
            told.add(id(values))
            if np.isfinite(values).all():
                found = values if factor.window else np.ascontiguousarray(values.T)
                yield f"{source}->{name}", found.astype(np.float32, copy=False)


class _Maps:
    """The tensors of one graph as linear maps of earlier tensors."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants: dict[str, tuple[Array, bool]] = {}
        self._terms: dict[str, _Terms] = {}
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        held = sum(int(np.prod(tensor.dims)) for tensor in graph.initializer)
        self._room = max(_GROWTH * held, _LEAST_ROOM)

    def terms(self, name: str) -> _Terms:
        return self._terms.get(name, {name: _Factor()})

    def ends(self) -> Iterator[str]:
        """The tensors that are followed no further, in the order of the nodes."""
        for node in self._graph.node:
            if self._compute(node):
                continue
            try:
                self._terms[node.output[0]] = self._follow(node)
            except (_NotLinearError, ValueError, TypeError, KeyError, IndexError):
                yield from (name for name in node.input if name in self._terms)
        yield from (output.name for output in self._graph.output if output.name in self._terms)

    def _constant(self, name: str) -> tuple[Array, bool] | None:
        """A constant, and whether several weights made it."""
        if name in self._stored and name not in self._constants:
            self._constants[name] = numpy_helper.to_array(self._stored[name]), False
        return self._constants.get(name)

    def _compute(self, node: onnx.NodeProto) -> bool:
        """Whether what the node makes is a constant; it is computed then."""
        if node.op_type == "Constant":
            stated = [item.t for item in node.attribute if item.name == "value"]
            if stated:
                self._constants[node.output[0]] = numpy_helper.to_array(stated[0]), True
            return bool(stated)
        if node.op_type not in _COMPUTED or not node.input:
            return False
        found = [self._constant(name) for name in node.input if name]
        given = [each for each in found if each is not None]
        if len(given) < len(found):
            return False
        arrays = [array for array, _ in given]
        try:
            self._take(_size_of(node.op_type, arrays))
            feeds = dict(zip((name for name in node.input if name), arrays, strict=False))
            (made,) = ReferenceEvaluator(node).run(None, feeds)
        except (_NotLinearError, ValueError, TypeError, KeyError, RuntimeError, IndexError):
            return False
        large = sum(array.size > 1 and array.ndim > 1 for array in arrays)
        kept = node.op_type in ("Transpose", "Identity", "Cast", "DequantizeLinear")
        merged = any(merged for _, merged in given) or (large > 0 and not kept)
        self._constants[node.output[0]] = np.asarray(made), merged
        return True

    def _take(self, size: int) -> None:
        if size > self._room:
            raise _NotLinearError
        self._room -= size

    def _follow(self, node: onnx.NodeProto) -> _Terms:
        kind, given = node.op_type, node.input
        if kind in _AS_IT_IS:
            return self._reshaped(node) if kind == "Reshape" else self.terms(given[0])
        if kind in ("MatMul", "Gemm"):
            return self._product(node)
        if kind == "Conv":
            return self._convolved(node)
        if kind in ("Add", "Sub", "Sum"):
            return self._sum(node)
        if kind in ("Mul", "Div", "Neg", "BatchNormalization"):
            return self._scaled(node)
        if kind == "Concat":
            return self._joined(node)
        raise _NotLinearError

    def _reshaped(self, node: onnx.NodeProto) -> _Terms:
        terms, shape = self.terms(node.input[0]), self._constant(node.input[1])
        widths = {factor.width for factor in terms.values()}
        if shape is None or any(factor.window for factor in terms.values()):
            raise _NotLinearError
        if int(shape[0].reshape(-1)[-1]) not in (*widths, 0, -1):
            raise _NotLinearError
        return terms

    def _product(self, node: onnx.NodeProto) -> _Terms:
        found = self._constant(node.input[1])
        if found is None or found[0].ndim != 2 or _number(node, "transA", 0):
            raise _NotLinearError
        matrix, merged = found[0].astype(np.float32, copy=False), found[1]
        if node.op_type == "Gemm":
            matrix = matrix.T if _number(node, "transB", 0) else matrix
            alpha = _number(node, "alpha", 1.0)
            matrix = matrix if alpha == 1 else matrix * np.float32(alpha)
        return {
            source: self._times(factor, matrix, merged)
            for source, factor in self.terms(node.input[0]).items()
        }

    def _times(self, factor: _Factor, matrix: Floats, merged: bool) -> _Factor:
        if factor.values is None:
            return _Factor(matrix, merged)
        if factor.window or factor.width != len(matrix):
            raise _NotLinearError
        self._take(len(factor.values) * matrix.shape[1])
        return _Factor(factor.values @ matrix, True)

    def _convolved(self, node: onnx.NodeProto) -> _Terms:
        found = self._constant(node.input[1])
        if found is None or found[0].ndim != 4:
            raise _NotLinearError
        kernel, merged = found[0].astype(np.float32, copy=False), found[1]
        window = _window(node)
        terms = {}
        for source, factor in self.terms(node.input[0]).items():
            if factor.values is None:
                terms[source] = _Factor(kernel, merged, window)
                continue
            inner = factor.values
            if not factor.window or window[2] != 1 or factor.width != kernel.shape[1]:
                raise _NotLinearError
            self._take(len(kernel) * inner.shape[1] * kernel[0, 0].size * inner[0, 0].size)
            if kernel.shape[2:] == (1, 1) and window[:2] == _POINT[:2]:
                made = np.einsum("oi,ickl->ockl", kernel[:, :, 0, 0], inner, optimize=True)
                terms[source] = _Factor(made, True, factor.window)
            elif inner.shape[2:] == (1, 1) and factor.window[:3] == _POINT:
                made = np.einsum("oikl,ic->ockl", kernel, inner[:, :, 0, 0], optimize=True)
                terms[source] = _Factor(made, True, window)
            else:
                raise _NotLinearError
        return terms

    def _sum(self, node: onnx.NodeProto) -> _Terms:
        total: dict[str, _Factor] = {}
        for place, name in enumerate(node.input):
            if self._constant(name) is not None:
                continue
            for source, factor in self.terms(name).items():
                if node.op_type == "Sub" and place == 1:
                    factor = factor.scaled(-np.ones(1, np.float32))
                if source in total:
                    factor = self._added(total[source], factor)
                total[source] = factor
        if not total:
            raise _NotLinearError
        return total

    def _added(self, first: _Factor, second: _Factor) -> _Factor:
        """Two factors of one tensor; where it is also added as it is, a matrix with ones more."""
        if first.values is None and second.values is None:
            raise _NotLinearError
        bare = first.values is None or second.values is None
        if first.window != second.window or (bare and first.window):
            raise _NotLinearError
        size = max(first.width, second.width)
        made, other = first.dense(size), second.dense(size)
        if made.shape != other.shape:
            raise _NotLinearError
        self._take(made.size)
        return _Factor(made + other, True, first.window)

    def _scaled(self, node: onnx.NodeProto) -> _Terms:
        terms = self.terms(node.input[0])
        by: Floats = np.ones(1, np.float32)
        if node.op_type == "Neg":
            by = -by
        elif node.op_type == "BatchNormalization":
            gamma, variance = self._float(node.input[1]), self._float(node.input[4])
            by = (gamma / np.sqrt(variance + _number(node, "epsilon", 1e-5))).astype(np.float32)
        elif node.op_type == "Div":
            by = np.reciprocal(self._float(node.input[1]))
        elif self._constant(node.input[1]) is None:
            terms, by = self.terms(node.input[1]), self._float(node.input[0])
        else:
            by = self._float(node.input[1])
        if any(by.size not in (1, factor.width) and factor.width for factor in terms.values()):
            raise _NotLinearError
        self._take(sum(f.values.size for f in terms.values() if f.values is not None))
        return {source: factor.scaled(by) for source, factor in terms.items()}

    def _float(self, name: str) -> Floats:
        found = self._constant(name)
        if found is None:
            raise _NotLinearError
        return found[0].astype(np.float32)

    def _joined(self, node: onnx.NodeProto) -> _Terms:
        """Outputs side by side: what one part does not read, it multiplies with zeros."""
        parts = [self.terms(name) for name in node.input]
        factors = [factor for part in parts for factor in part.values()]
        windows = {factor.window for factor in factors}
        axis = _number(node, "axis", 0)
        last = axis == 1 if windows != {()} else axis in (-1, 1, 2)
        if len(windows) != 1 or not last or any(factor.values is None for factor in factors):
            raise _NotLinearError
        widths = [next(iter(part.values())).width for part in parts]
        terms = {}
        for source in dict.fromkeys(source for part in parts for source in part):
            shape = next(part[source].dense(0).shape for part in parts if source in part)
            blocks = [
                part[source].dense(0) if source in part else np.zeros(_wide(shape, width))
                for part, width in zip(parts, widths, strict=True)
            ]
            self._take(sum(block.size for block in blocks))
            made = np.concatenate(blocks, 0 if len(shape) == 4 else 1).astype(np.float32)
            terms[source] = _Factor(made, True, factors[0].window)
        return terms


def _wide(shape: tuple[int, ...], width: int) -> tuple[int, ...]:
    """The shape of a factor that has so many outputs."""
    return (width, *shape[1:]) if len(shape) == 4 else (shape[0], width)


def _size_of(kind: str, arrays: Sequence[Array]) -> int:
    """How many numbers an operator makes of these. Raises: ValueError where they do not fit."""
    if kind == "MatMul" and min(array.ndim for array in arrays) == 2:
        return int(arrays[0].shape[0] * arrays[1].shape[1])
    if kind == "MatMul":
        raise ValueError("products of matrices alone")
    if kind in ("Add", "Sub", "Mul", "Div"):
        return int(np.prod(np.broadcast_shapes(*(array.shape for array in arrays))))
    return sum(array.size for array in arrays)


def _window(node: onnx.NodeProto) -> tuple[Any, ...]:
    """Strides, pads, groups, and what else says where a kernel goes."""
    stated = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    strides, pads = stated.get("strides", (1, 1)), stated.get("pads", (0, 0, 0, 0))
    rest = (tuple(stated.get("dilations", (1, 1))), stated.get("auto_pad", b"NOTSET"))
    return tuple(strides), tuple(pads), stated.get("group", 1), *rest


def _number(node: onnx.NodeProto, name: str, default: float) -> float:
    found = next((item for item in node.attribute if item.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)
