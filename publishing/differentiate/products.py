"""Gradients of matrix products."""

from collections.abc import Mapping, Sequence

from publishing.differentiate.emitter import Emitter
from publishing.differentiate.measured import MeasuredNode
from publishing.differentiate.rules import Gradients, Rule, only, summed_to


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
    lead = len(output) - len(own)
    axes = [
        axis
        for axis, dims in enumerate(output)
        if axis < lead or (own[axis - lead] == (1, 1) and dims != (1, 1))
    ]
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


RULES: Mapping[str, Rule] = {"Einsum": _einsum, "Gemm": _gemm, "MatMul": _matmul}
