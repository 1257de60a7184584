"""Counts of training texts for a response graph, as `training.export.word_votes` would leave them
there.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from inference.screening.first_stage import PLACES, VOTES
from tests.support.builders.models.text_models import RULES

_WIDTH = 3


def tables(vocabulary: int = RULES.vocabulary, classes: int = 2) -> dict[str, np.ndarray]:
    """Drawn at random: they say nothing of any text."""
    draw = np.random.default_rng(1)
    return {
        VOTES: draw.normal(size=(vocabulary, classes)).astype(np.float32),
        PLACES: draw.normal(size=(vocabulary, _WIDTH)).astype(np.float32),
    }


def with_constants(model: onnx.ModelProto, held: Mapping[str, np.ndarray]) -> bytes:
    """The model with constants that no node reads."""
    tensors = (numpy_helper.from_array(value, name) for name, value in held.items())
    model.graph.initializer.extend(tensors)
    return bytes(model.SerializeToString())


def with_counts(response: bytes) -> bytes:
    """The response graph of the small text model with counts in it. Nodes read them: what none
    reads, quantization drops.
    """
    model = onnx.load_model_from_string(response)
    nodes = (helper.make_node("Identity", [name], [f"{name}.read"]) for name in tables())
    model.graph.node.extend(nodes)
    return with_constants(model, tables())
