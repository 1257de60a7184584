"""Gradients of softmax and of layers that normalize."""

from collections.abc import Mapping, Sequence

from publishing.differentiate.emitter import Emitter
from publishing.differentiate.measured import MeasuredNode
from publishing.differentiate.rules import Gradients, Rule, only


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


def _length(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
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
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "LogSoftmax": _log_softmax,
    "LpNormalization": _length,
    "Softmax": _softmax,
}
