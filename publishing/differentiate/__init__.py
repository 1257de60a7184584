"""Differentiates ONNX graphs, and makes response graphs from them.

Surface: `MeasuredGraph.of` runs a model on a few rows and keeps the shapes; `response_graph` makes
the graph that screens it, and `difference_graph` that of a model without gradients; `unsupported`
names operators without a gradient beforehand.
"""

from publishing.differentiate.backward import unsupported
from publishing.differentiate.differences import (
    ColumnLikelihood,
    ColumnMoves,
    difference_graph,
    influential,
)
from publishing.differentiate.graphs import MeasuredGraph
from publishing.differentiate.layers import add_leaves, reference_layers
from publishing.differentiate.reference import HIDDEN_LAYER, NEIGHBOURS, ReferenceSize, class_points
from publishing.differentiate.response import RESERVED, Answer, Units, response_graph

__all__ = [
    "HIDDEN_LAYER",
    "NEIGHBOURS",
    "RESERVED",
    "Answer",
    "ColumnLikelihood",
    "ColumnMoves",
    "MeasuredGraph",
    "ReferenceSize",
    "Units",
    "add_leaves",
    "class_points",
    "difference_graph",
    "influential",
    "reference_layers",
    "response_graph",
    "unsupported",
]
