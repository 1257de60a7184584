"""Gradients of operators that sum over axes: matrix products, reductions, normalization."""

import math
from collections.abc import Callable, Mapping, Sequence

from publishing.differentiate.graphs import (
    Emitter,
    Gradients,
    MeasuredNode,
    Rule,
    broadcast_axes,
    only,
    summed_to,
)

# From the result and its gradient, both with the axes kept, the gradient of the input.
Spread = Callable[[Emitter, MeasuredNode, tuple[int, ...], str, str], str]


def _over(spread: Spread) -> Rule:
    def rule(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
        axes = _axes(node)
        if not axes:
            return (only(gradients),)
        g, y = only(gradients), node.outputs[0]
        if not int(node.attribute("keepdims", 1)):
            g, y = (e.op("Unsqueeze", each, e.integers(*axes)) for each in (g, y))
        return (spread(e, node, axes, y, g),)

    return rule


def _axes(node: MeasuredNode) -> tuple[int, ...]:
    """Empty where the operator changes nothing."""
    rank = node.input(0).rank
    given = node.attribute("axes")
    if given is None and node.has(1):
        given = node.value(1).tolist()
    if not given:
        return () if int(node.attribute("noop_with_empty_axes", 0)) else tuple(range(rank))
    return tuple(sorted(int(axis) % rank for axis in given))


def _expanded(e: Emitter, node: MeasuredNode, g: str) -> str:
    return e.op("Expand", g, e.shape(node.inputs[0]))


def _sum(e: Emitter, node: MeasuredNode, axes: tuple[int, ...], y: str, g: str) -> str:
    return _expanded(e, node, g)


def _mean(e: Emitter, node: MeasuredNode, axes: tuple[int, ...], y: str, g: str) -> str:
    count = math.prod(node.input(0).fixed(axis) for axis in axes)
    return _expanded(e, node, e.op("Div", g, e.number(count)))


def _extreme(e: Emitter, node: MeasuredNode, axes: tuple[int, ...], y: str, g: str) -> str:
    """Equal extremes share the gradient."""
    there = e.op("CastLike", e.op("Equal", node.inputs[0], y), g)
    return e.op("Mul", e.op("Div", there, e.sum(there, *axes)), g)


def _length(e: Emitter, node: MeasuredNode, axes: tuple[int, ...], y: str, g: str) -> str:
    """Zeros have no direction, and a slope of zero."""
    length = e.op("Where", e.op("Equal", y, e.number(0.0)), e.number(1.0), y)
    return e.op("Mul", e.op("Div", node.inputs[0], length), g)


def _absolute(e: Emitter, node: MeasuredNode, axes: tuple[int, ...], y: str, g: str) -> str:
    return e.op("Mul", e.op("Sign", node.inputs[0]), g)


def _square(e: Emitter, node: MeasuredNode, axes: tuple[int, ...], y: str, g: str) -> str:
    return e.op("Mul", e.op("Mul", node.inputs[0], e.number(2.0)), g)


def _log_sum(e: Emitter, node: MeasuredNode, axes: tuple[int, ...], y: str, g: str) -> str:
    return e.op("Mul", e.op("Exp", e.op("Sub", node.inputs[0], y)), g)


def _matmul(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    if min(node.input(0).rank, node.input(1).rank) < 2:
        raise node.refusal("a product with a vector")
    g, (a, b) = only(gradients), node.inputs
    left = e.op("MatMul", g, _transposed(e, b, node.input(1).rank))
    right = e.op("MatMul", _transposed(e, a, node.input(0).rank), g)
    return _summed(e, node, left, 0), _summed(e, node, right, 1)


def _summed(e: Emitter, node: MeasuredNode, gradient: str, place: int) -> str:
    """Over the leading axes along which a factor was broadcast."""
    own, output = node.input(place).dims[:-2], node.output().dims[:-2]
    axes = broadcast_axes(own, output)
    if not axes:
        return gradient
    return e.op("Reshape", e.sum(gradient, *axes), e.shape(node.inputs[place]))


def _transposed(e: Emitter, name: str, rank: int) -> str:
    return e.op("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])


def _gemm(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    g, (a, b) = only(gradients), node.inputs[:2]
    flip_a, flip_b = int(node.attribute("transA", 0)), int(node.attribute("transB", 0))
    alpha = float(node.attribute("alpha", 1.0))
    if flip_a:
        left = e.op("Gemm", b, g, alpha=alpha, transA=flip_b, transB=1)
    else:
        left = e.op("Gemm", g, b, alpha=alpha, transB=1 - flip_b)
    if flip_b:
        right = e.op("Gemm", g, a, alpha=alpha, transA=1, transB=flip_a)
    else:
        right = e.op("Gemm", a, g, alpha=alpha, transA=1 - flip_a)
    if not node.has(2):
        return left, right
    beta = e.number(float(node.attribute("beta", 1.0)))
    return left, right, summed_to(e, node, e.op("Mul", g, beta), 2)


def _einsum(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """The gradient to a factor is the product of the result's with the other factors."""
    equation = str(node.attribute("equation")).replace(" ", "")
    given, arrow, result = equation.partition("->")
    terms = given.split(",")
    if not arrow or "." in equation:
        raise node.refusal("an equation without result or with an ellipsis")
    found = []
    for place, own in enumerate(terms):
        others = [term for at, term in enumerate(terms) if at != place]
        names = [name for at, name in enumerate(node.inputs) if at != place]
        if len(set(own)) < len(own) or not set(own) <= set("".join([result, *others])):
            raise node.refusal(f"the equation {equation}")
        turned = f"{','.join([result, *others])}->{own}"
        found.append(e.op("Einsum", only(gradients), *names, equation=turned))
    return found


def _softmax(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    y, g, axis = node.outputs[0], only(gradients), node.axis(-1)
    mean = e.sum(e.op("Mul", g, y), axis)
    return (e.op("Mul", y, e.op("Sub", g, mean)),)


def _log_softmax(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    y, g, axis = node.outputs[0], only(gradients), node.axis(-1)
    return (e.op("Sub", g, e.op("Mul", e.op("Exp", y), e.sum(g, axis))),)


def _per_channel(e: Emitter, name: str, rank: int) -> str:
    return e.op("Reshape", name, e.integers(-1, *[1] * (rank - 2))) if rank > 2 else name


def _batch(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    if int(node.attribute("training_mode", 0)):
        raise node.refusal("it is in training mode")
    scale, variance = node.inputs[1], node.inputs[4]
    spread = e.op("Sqrt", e.op("Add", variance, e.number(node.attribute("epsilon", 1e-5))))
    factor = _per_channel(e, e.op("Div", scale, spread), node.input(0).rank)
    return (e.op("Mul", only(gradients), factor),)


def _layer(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    axes = range(node.axis(-1), node.input(0).rank)
    scaled = e.op("Mul", only(gradients), node.inputs[1])
    return (_normalized(e, node, scaled, tuple(axes)),)


def _instance(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    rank = node.input(0).rank
    scaled = e.op("Mul", only(gradients), _per_channel(e, node.inputs[1], rank))
    return (_normalized(e, node, scaled, tuple(range(2, rank))),)


def _normalized(e: Emitter, node: MeasuredNode, g: str, axes: tuple[int, ...]) -> str:
    """The gradient through (x - mean) / spread over `axes`: what is left of g without its mean and
    its part along the normalized row, over the spread.
    """
    x = node.inputs[0]
    centered = e.op("Sub", x, e.mean(x, *axes))
    variance = e.mean(e.op("Mul", centered, centered), *axes)
    spread = e.op("Sqrt", e.op("Add", variance, e.number(node.attribute("epsilon", 1e-5))))
    normal = e.op("Div", centered, spread)
    along = e.op("Mul", normal, e.mean(e.op("Mul", g, normal), *axes))
    return e.op("Div", e.op("Sub", e.op("Sub", g, e.mean(g, *axes)), along), spread)


def _lp_normal(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """Of LpNormalization: y = x / |x|."""
    axis, power = node.axis(-1), int(node.attribute("p", 2))
    x, y, g = node.inputs[0], node.outputs[0], only(gradients)
    if power == 1:
        length, way = e.op("ReduceL1", x, e.integers(axis), keepdims=1), e.op("Sign", x)
    else:
        length, way = e.op("ReduceL2", x, e.integers(axis), keepdims=1), y
    along = e.op("Mul", way, e.sum(e.op("Mul", g, y), axis))
    return (e.op("Div", e.op("Sub", g, along), length),)


RULES: Mapping[str, Rule] = {
    "BatchNormalization": _batch,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "LogSoftmax": _log_softmax,
    "LpNormalization": _lp_normal,
    "MatMul": _matmul,
    "ReduceL1": _over(_absolute),
    "ReduceL2": _over(_length),
    "ReduceLogSumExp": _over(_log_sum),
    "ReduceMax": _over(_extreme),
    "ReduceMean": _over(_mean),
    "ReduceMin": _over(_extreme),
    "ReduceSum": _over(_sum),
    "ReduceSumSquare": _over(_square),
    "Softmax": _softmax,
}
