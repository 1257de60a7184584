"""Refuses operators of an ONNX file that no trial can speak for, while its fields are read.

A version is tried before it answers, and its answers are replayed. For both, all runs must be
alike, so no operator may draw at random. Operators that join texts take memory that no bound
counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# The numbers of the fields in ONNX's schema.
_NODE, _INPUT, _OP_TYPE = 1, 1, 4
VISITED: Mapping[str, tuple[int, ...]] = {"GraphProto": (_NODE,), "NodeProto": (_INPUT, _OP_TYPE)}
"""The fields that `OperatorCheck.visit` is to be shown, by their message."""
# Each run draws other numbers: no trial would say how the next run ends, and no answer could be
# replayed.
_DRAWING = frozenset(
    (
        *(b"RandomNormal", b"RandomNormalLike", b"RandomUniform", b"RandomUniformLike"),
        *(b"Bernoulli", b"Multinomial", b"Sampling"),
        *(b"BiasDropout", b"BitmaskDropout", b"BitmaskBiasDropout"),
    )
)
# It draws where its third input, `training_mode`, is true. Exporters leave that input out of models
# that are not to be trained.
_DROPOUT, _TRAINING_MODE = b"Dropout", 3
# In a few hundred bytes, texts grow to gigabytes, which the bound of a run's memory does not count.
_LENGTHENING = b"StringConcat"


@dataclass(slots=True)
class _Operator:
    """A node as far as its fields have come, in any order."""

    name: bytes = b""
    inputs: int = 0
    can_train: bool = False


class OperatorCheck:
    """Checks the operator of each node of a model, those of subgraphs included."""

    def __init__(self) -> None:
        # The latest node, by how many messages are around its fields.
        self._nodes: dict[int, _Operator] = {}

    def visit(self, message: str, number: int, depth: int, value: int | bytes) -> None:
        """See `registry.formats.bounded_bytes.Visitor`. Raises ValueError."""
        if message == "GraphProto":
            self._nodes[depth + 1] = _Operator()
        if message != "NodeProto" or not isinstance(value, bytes):
            return
        # A function's node has no graph around it; no accepted file has functions.
        node = self._nodes.setdefault(depth, _Operator())
        if number == _OP_TYPE:
            node.name = value
        elif number == _INPUT:
            node.inputs += 1
            node.can_train |= node.inputs == _TRAINING_MODE and value != b""
        if node.name in _DRAWING:
            raise ValueError("an operator that draws at random")
        if node.name == _DROPOUT and node.can_train:
            raise ValueError("a Dropout with a training_mode; export the model for inference")
        if node.name == _LENGTHENING:
            raise ValueError("an operator that joins texts")
