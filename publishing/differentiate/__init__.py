"""Differentiates ONNX graphs, and makes response graphs from them.

Surface: `MeasuredGraph.of` runs a model on a few rows and keeps the shapes; `response_graph` makes
the graph that screens it; `unsupported` names operators without a gradient beforehand.
"""

from publishing.differentiate.backward import unsupported
from publishing.differentiate.layers import reference_layers
from publishing.differentiate.measured import MeasuredGraph
from publishing.differentiate.response import RESERVED, Answer, Units, response_graph

__all__ = [
    "RESERVED",
    "Answer",
    "MeasuredGraph",
    "Units",
    "reference_layers",
    "response_graph",
    "unsupported",
]
