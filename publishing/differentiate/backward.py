"""Reverse-mode differentiation of an ONNX graph, by operator.

The backward pass is appended to the graph as further nodes. Each operator has a rule that, from the
gradients of its outputs, gives those of its inputs. Only gradients to the rows are built: weights
are constants here.
"""

from collections.abc import Mapping, Sequence

from publishing.differentiate import convolutions, elementwise, layout, reductions
from publishing.differentiate.graphs import Emitter, Gradients, MeasuredGraph, MeasuredNode, Rule
from sealgate.reasons import Reason, SealgateError

RULES: Mapping[str, Rule] = {
    **elementwise.RULES,
    **layout.RULES,
    **reductions.RULES,
    **convolutions.RULES,
}
_OWN = ("", "ai.onnx")


def unsupported(graph: MeasuredGraph, output: str) -> list[str]:
    """The operators between the rows and `output` that have no rule: as `domain:kind`, or of ONNX's
    own as their kind alone.
    """
    reached = {output}
    found = {}
    for node in reversed(list(graph.nodes())):
        if reached.intersection(node.outputs) and graph.active.intersection(node.inputs):
            reached.update(node.inputs)
            if _rule(node) is None:
                found[node.name] = True
    return sorted(found)


def gradient(emitter: Emitter, graph: MeasuredGraph, output: str, cotangent: str) -> str:
    """Append the backward pass; returns the gradient to the rows of the sum of `output` times
    `cotangent`.

    Raises GRADIENT_MISSING, which names an operator without a gradient.
    """
    gradients: dict[str, str] = {output: cotangent}
    for node in reversed(list(graph.nodes())):
        given = [gradients.get(name) for name in node.outputs]
        if not any(given) or not graph.active.intersection(node.inputs):
            continue
        rule = _rule(node)
        if rule is None:
            raise node.refusal("it has no gradient here")
        for place, found in enumerate(_applied(rule, emitter, node, given)):
            name = node.inputs[place]
            if found is None or name not in graph.active:
                continue
            before = gradients.get(name)
            gradients[name] = found if before is None else emitter.op("Add", before, found)
    if graph.row_input not in gradients:
        raise SealgateError(
            Reason.GRADIENT_MISSING, f"{output} does not depend on {graph.row_input} smoothly"
        )
    return gradients[graph.row_input]


def _applied(
    rule: Rule, emitter: Emitter, node: MeasuredNode, given: Gradients
) -> Sequence[str | None]:
    """Raises GRADIENT_MISSING, which names the node, also where it cuts or joins along the rows."""
    try:
        return rule(emitter, node, given)
    except SealgateError as refusal:
        if refusal.reason is not Reason.GRAPH_MISMATCH:
            raise
        raise node.refusal(refusal.detail) from refusal


def _rule(node: MeasuredNode) -> Rule | None:
    return RULES.get(node.kind) if node.proto.domain in _OWN else None
