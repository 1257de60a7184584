"""What the rules of differentiation share.

A rule is given a node and the gradients of its outputs, None where an output has no part in the
result. It returns those of the node's inputs, in order, None where there is none; the end may be
left out.
"""

from collections.abc import Callable, Sequence

from publishing.differentiate.emitter import Emitter
from publishing.differentiate.measured import MeasuredNode

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
