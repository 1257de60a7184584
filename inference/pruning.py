"""A graph without what its wanted outputs do not need.

onnxruntime computes every node of a graph, whatever outputs are asked for. A response graph also
holds the cross-entropy's gradient, which an auditor wants and a request does not.
"""

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import TypeVar

import onnx

Message = TypeVar("Message")


def prune(graph: bytes, outputs: Iterable[str]) -> bytes:
    """The ONNX model with only these outputs, and only the nodes and initializers they need.

    `graph` has been checked (see `registry.formats`); inputs stay as they are.
    """
    model = onnx.load_model_from_string(graph)
    needed = set(outputs)
    _keep(model.graph.output, lambda item: item.name in needed)
    # Nodes are in topological order: from the end, whoever needs one comes before it.
    for place in reversed(range(len(model.graph.node))):
        node = model.graph.node[place]
        if needed.isdisjoint(node.output):
            del model.graph.node[place]
        else:
            needed.update(_reads(node))
    _keep(model.graph.initializer, lambda item: item.name in needed)
    return bytes(model.SerializeToString())


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, by itself or inside its subgraphs, which see the names around them."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            yield from (output.name for output in inner.output)
            for nested in inner.node:
                yield from _reads(nested)


def _keep(field: MutableSequence[Message], wanted: Callable[[Message], bool]) -> None:
    for place in reversed(range(len(field))):
        if not wanted(field[place]):
            del field[place]
