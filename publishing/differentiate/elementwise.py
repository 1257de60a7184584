"""Gradients of operators that treat each element alone."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx import TensorProto

from publishing.differentiate.graphs import (
    Emitter,
    Gradients,
    MeasuredNode,
    Rule,
    only,
    stopped,
    summed_to,
)

# The slope of an element's function, from the node's first input and its output.
Slope = Callable[[Emitter, MeasuredNode, str, str], str]


def _sloped(slope: Slope) -> Rule:
    def rule(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
        found = slope(e, node, node.inputs[0], node.outputs[0])
        return (e.op("Mul", only(gradients), found),)

    return rule


def _where(e: Emitter, chosen: str, one: str, other: str) -> str:
    return e.op("Where", chosen, one, other)


def _where_true(e: Emitter, condition: str, g: str) -> str:
    """`g` there, and zero elsewhere: faster than `Where`."""
    return e.op("Mul", e.op("Cast", condition, to=TensorProto.FLOAT), g)


def _relu(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    # Of the output, so that a runtime may still join the operator with the one before it.
    return (_where_true(e, e.op("Greater", node.outputs[0], e.number(0.0)), only(gradients)),)


def _leaky(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    alpha = e.number(node.attribute("alpha", 0.01))
    return _where(e, e.op("Greater", x, e.number(0.0)), e.number(1.0), alpha)


def _elu(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    alpha = e.number(node.attribute("alpha", 1.0))
    return _where(e, e.op("Greater", x, e.number(0.0)), e.number(1.0), e.op("Add", y, alpha))


def _selu(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    alpha = node.attribute("alpha", 1.67326319217681884765625)
    gamma = node.attribute("gamma", 1.05070102214813232421875)
    below = e.op("Add", y, e.number(alpha * gamma))
    return _where(e, e.op("Greater", x, e.number(0.0)), e.number(gamma), below)


def _sigmoid(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    return e.op("Mul", y, e.op("Sub", e.number(1.0), y))


def _hard_sigmoid(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    inside = e.op("And", e.op("Greater", y, e.number(0.0)), e.op("Less", y, e.number(1.0)))
    return _where(e, inside, e.number(node.attribute("alpha", 0.2)), e.number(0.0))


def _hard_swish(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    middle = e.op("Add", e.op("Div", x, e.number(3.0)), e.number(0.5))
    above = _where(e, e.op("Greater", x, e.number(3.0)), e.number(1.0), middle)
    return _where(e, e.op("Less", x, e.number(-3.0)), e.number(0.0), above)


def _tanh(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    return e.op("Sub", e.number(1.0), e.op("Mul", y, y))


def _softplus(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    return e.op("Sigmoid", x)


def _softsign(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    below = e.op("Add", e.number(1.0), e.op("Abs", x))
    return e.op("Reciprocal", e.op("Mul", below, below))


def _erf(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    bell = e.op("Exp", e.op("Neg", e.op("Mul", x, x)))
    return e.op("Mul", bell, e.number(2 / math.sqrt(math.pi)))


def _gelu(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    if node.attribute("approximate", "none") == "tanh":
        return _gelu_tanh(e, x)
    share = e.op("Erf", e.op("Mul", x, e.number(math.sqrt(0.5))))
    below = e.op("Mul", e.op("Add", share, e.number(1.0)), e.number(0.5))
    bell = e.op("Exp", e.op("Mul", e.op("Mul", x, x), e.number(-0.5)))
    density = e.op("Mul", bell, e.number(1 / math.sqrt(2 * math.pi)))
    return e.op("Add", below, e.op("Mul", x, density))


def _gelu_tanh(e: Emitter, x: str) -> str:
    """y = x (1 + tanh u) / 2 with u = c (x + 0.044715 x³)."""
    c, k = math.sqrt(2 / math.pi), 0.044715
    square = e.op("Mul", x, x)
    inner = e.op("Mul", x, e.op("Add", e.number(c), e.op("Mul", square, e.number(c * k))))
    bent = e.op("Tanh", inner)
    slope = e.op("Add", e.number(c), e.op("Mul", square, e.number(3 * c * k)))
    steep = e.op("Mul", e.op("Mul", x, slope), e.op("Sub", e.number(1.0), e.op("Mul", bent, bent)))
    return e.op("Mul", e.op("Add", e.op("Add", e.number(1.0), bent), steep), e.number(0.5))


def _mish(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    bent = e.op("Tanh", e.op("Softplus", x))
    rest = e.op("Sub", e.number(1.0), e.op("Mul", bent, bent))
    return e.op("Add", bent, e.op("Mul", e.op("Mul", x, e.op("Sigmoid", x)), rest))


def _exp(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    return y


def _log(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    return e.op("Reciprocal", x)


def _sqrt(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    return e.op("Div", e.number(0.5), y)


def _reciprocal(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    return e.op("Neg", e.op("Mul", y, y))


def _abs(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    return e.op("Sign", x)


def _neg(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    return (e.op("Neg", only(gradients)),)


def _sin(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    return e.op("Cos", x)


def _cos(e: Emitter, node: MeasuredNode, x: str, y: str) -> str:
    return e.op("Neg", e.op("Sin", x))


def _passed(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    return (only(gradients),)


def _cast(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    if node.input(0).dtype == node.output().dtype:
        return (only(gradients),)
    return (e.op("CastLike", only(gradients), node.inputs[0]),)


def _add(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """Of Add and of Sum."""
    return [summed_to(e, node, only(gradients), at) for at in range(len(node.inputs))]


def _sub(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    g = only(gradients)
    return summed_to(e, node, g, 0), summed_to(e, node, e.op("Neg", g), 1)


def _mul(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    a, b = node.inputs
    g = only(gradients)
    return summed_to(e, node, e.op("Mul", g, b), 0), summed_to(e, node, e.op("Mul", g, a), 1)


def _div(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    quotient = e.op("Div", only(gradients), node.inputs[1])
    other = e.op("Neg", e.op("Mul", quotient, node.outputs[0]))
    return summed_to(e, node, quotient, 0), summed_to(e, node, other, 1)


def _pow(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """Of a constant exponent."""
    exponent = node.value(1).astype(np.float32)
    lower, factor = e.constant(exponent - 1), e.constant(exponent)
    slope = e.op("Mul", e.op("Pow", node.inputs[0], lower), factor)
    return (summed_to(e, node, e.op("Mul", only(gradients), slope), 0),)


def _clip(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    inside = e.op("Equal", node.inputs[0], node.outputs[0])
    return (_where_true(e, inside, only(gradients)),)


def _prelu(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    x, slope = node.inputs
    positive = e.op("Greater", x, e.number(0.0))
    return (e.op("Mul", only(gradients), _where(e, positive, e.number(1.0), slope)),)


def _selection(chooses: str) -> Rule:
    """Of Min and Max of two: the gradient goes where the value came from."""

    def rule(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
        if len(node.inputs) != 2:
            raise node.refusal("more than two inputs")
        zero, first = e.number(0.0), e.op(chooses, *node.inputs)
        g = only(gradients)
        one, other = _where(e, first, g, zero), _where(e, first, zero, g)
        return summed_to(e, node, one, 0), summed_to(e, node, other, 1)

    return rule


def _chosen(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """Of Where."""
    zero, g, condition = e.number(0.0), only(gradients), node.inputs[0]
    one, other = _where(e, condition, g, zero), _where(e, condition, zero, g)
    return None, summed_to(e, node, one, 1), summed_to(e, node, other, 2)


RULES: Mapping[str, Rule] = {
    "Abs": _sloped(_abs),
    "Add": _add,
    "Cast": _cast,
    "Ceil": stopped,
    "Clip": _clip,
    "Cos": _sloped(_cos),
    "Div": _div,
    "Dropout": _passed,
    "Elu": _sloped(_elu),
    "Erf": _sloped(_erf),
    "Exp": _sloped(_exp),
    "Floor": stopped,
    "Gelu": _sloped(_gelu),
    "HardSigmoid": _sloped(_hard_sigmoid),
    "HardSwish": _sloped(_hard_swish),
    "Identity": _passed,
    "LeakyRelu": _sloped(_leaky),
    "Log": _sloped(_log),
    "Max": _selection("GreaterOrEqual"),
    "Min": _selection("LessOrEqual"),
    "Mish": _sloped(_mish),
    "Mul": _mul,
    "Neg": _neg,
    "PRelu": _prelu,
    "Pow": _pow,
    "Reciprocal": _sloped(_reciprocal),
    "Relu": _relu,
    "Round": stopped,
    "Selu": _sloped(_selu),
    "Sigmoid": _sloped(_sigmoid),
    "Sign": stopped,
    "Sin": _sloped(_sin),
    "Softplus": _sloped(_softplus),
    "Softsign": _sloped(_softsign),
    "Sqrt": _sloped(_sqrt),
    "Sub": _sub,
    "Sum": _add,
    "Tanh": _sloped(_tanh),
    "Where": _chosen,
}
