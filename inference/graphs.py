"""A version's graphs, opened as what they are said to be."""

import onnx

from inference.model_config import ModelConfig
from inference.pruning import keep_outputs
from inference.runtime import Session
from inference.runtime_settings import ON_CPU, RuntimeSettings
from inference.screening import contract
from inference.screening.contract import ResponseShape
from sealgate.reasons import Reason, Refusal


def open_classifier(
    graph: bytes, config: ModelConfig, threads: int, settings: RuntimeSettings = ON_CPU
) -> Session:
    """A graph from the model's inputs to its output, and from nothing else.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA, ENGINE_UNSUITABLE, GRAPH_MISMATCH.
    """
    session = Session.open(graph, (config.output.name,), threads, settings)
    inputs = {config.input.name} if config.tokens is None else {contract.IDS, contract.MASK}
    if session.inputs != inputs:
        raise Refusal(Reason.GRAPH_MISMATCH, f"the graph takes {sorted(session.inputs)}")
    return session


def open_response(
    graph: bytes, threads: int, settings: RuntimeSettings = ON_CPU
) -> tuple[Session, Session]:
    """The response graph as it was signed, on the processor, to hold against it what requests run:
    the same, pruned to what they need, where the settings say.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA, ENGINE_UNSUITABLE, GRAPH_MISMATCH.
    """
    # The whole graph first: opening it checks that it is one.
    whole = Session.open(graph, (contract.LOGITS, contract.FEATURES), threads)
    features = keep_outputs(graph, (contract.FEATURES,))
    return whole, Session.open(features, (contract.FEATURES,), threads, settings)


def check_response(graph: onnx.ModelProto | bytes, config: ModelConfig) -> ResponseShape:
    """Check that it is a response graph for this model. Raises FORMAT_REFUSED, GRAPH_MISMATCH."""
    classes = config.output.row[0]
    if config.tokens is not None:
        return contract.check_text_response_graph(graph, classes)
    return contract.check_response_graph(graph, config.input.row, classes)
