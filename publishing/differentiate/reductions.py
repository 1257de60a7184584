"""Gradients of sums, means, extremes and lengths over axes."""

import math
from collections.abc import Callable, Mapping, Sequence

from publishing.differentiate.emitter import Emitter
from publishing.differentiate.measured import MeasuredNode
from publishing.differentiate.rules import Gradients, Rule, only

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


RULES: Mapping[str, Rule] = {
    "ReduceL1": _over(_absolute),
    "ReduceL2": _over(_length),
    "ReduceLogSumExp": _over(_log_sum),
    "ReduceMax": _over(_extreme),
    "ReduceMean": _over(_mean),
    "ReduceMin": _over(_extreme),
    "ReduceSum": _over(_sum),
    "ReduceSumSquare": _over(_square),
}
