"""Opens the ONNX graphs of a version and checks that each is what its file name says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from inference.model.config import ModelConfig
from inference.runtime import response_contract
from inference.runtime.graph_layers import Weight, find_embeddings, find_last_layer
from inference.runtime.graph_rewrites import keep_outputs, steady_sums, with_outputs
from inference.runtime.response_contract import ResponseShape
from inference.runtime.session import Session
from inference.runtime.settings import CPU, ON_CPU, RuntimeSettings
from inference.screening.first_stage import FirstStage, RunOutputs, WordTables
from registry.formats.format_check import check_file
from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]

# Files are checked by what their names say they are; a graph in memory has none.
_NAME = "graph.onnx"


def open_classifier(
    graph: bytes, config: ModelConfig, threads: int, settings: RuntimeSettings = ON_CPU
) -> Session:
    """A graph from the model's inputs to its output, and from nothing else.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA, ENGINE_UNSUITABLE, GRAPH_MISMATCH.
    """
    check_file(_NAME, graph)
    return _opened(graph, (config.output.name,), config, threads, settings)


@dataclass(frozen=True, slots=True)
class TappedGraph:
    """An INT8 graph that also outputs the input of its last layer.

    It has the float32 `weight` [C, D] of that layer and the `name` of its input. For texts, `words`
    holds the word statistics to read; without them the graph outputs the embeddings too.
    """

    session: Session
    weight: Weight
    name: str
    words: WordTables | None = None

    def run(self, feeds: Feeds) -> RunOutputs:
        """Of rows by themselves."""
        return self.shown(feeds, self.session.run(feeds))

    def shown(self, feeds: Feeds, outputs: Sequence[Array]) -> RunOutputs:
        """From what the session gave for these feeds."""
        logits, vectors, *embedded = outputs
        if self.words is not None:
            read = self.words.read(feeds[response_contract.IDS], feeds[response_contract.MASK])
            return RunOutputs(read, vectors, logits)
        if not embedded:
            rows = feeds[self.name]
            return RunOutputs(rows.reshape(len(rows), -1), vectors, logits)
        mask = feeds[response_contract.MASK].astype(np.float32)[:, np.newaxis]
        means = (mask @ embedded[0])[:, 0] / mask.sum(axis=2)
        return RunOutputs(means, vectors, logits)


def open_tapped(
    int8: bytes,
    float32: bytes,
    config: ModelConfig,
    threads: int = 1,
    settings: RuntimeSettings = ON_CPU,
    words: WordTables | None = None,
) -> TappedGraph:
    """Open the INT8 graph so that it shows what enters its last layer; and of texts without `words`
    their embeddings.

    Raises: as `open_classifier` does; GRAPH_MISMATCH where either graph does not end in one layer,
    or where a text's embeddings cannot be found.
    """
    for graph in (int8, float32):
        check_file(_NAME, graph)
    output = config.output.name
    shown = {find_last_layer(int8, output).entered: 2}
    if config.tokens is not None and words is None:
        shown[find_embeddings(int8, response_contract.IDS)] = 3
    tapped = with_outputs(int8, shown)
    session = _opened(tapped, (output, *shown), config, threads, settings)
    return TappedGraph(session, find_last_layer(float32, output).weight, config.input.name, words)


def counted(
    response: bytes, config: ModelConfig, stage: FirstStage | None = None
) -> WordTables | None:
    """What a checked response graph says of words; None where it says nothing, or where `stage`
    reads something else: one of before there were counts reads embeddings.

    Raises GRAPH_MISMATCH as `WordTables.of` does.
    """
    if config.tokens is None:
        return None
    found = WordTables.of(response, config.tokens.vocabulary, config.output.row[0])
    read = None if stage is None else stage.readings.inputs.size
    return found if found is not None and read in (None, found.size) else None


def open_response(
    graph: bytes,
    config: ModelConfig,
    threads: int,
    settings: RuntimeSettings = ON_CPU,
    *,
    compared: bool = False,
) -> tuple[Session, Session]:
    """The response graph as it was signed, on the processor, to hold against it what requests run:
    the same, pruned to what they need and with the model's step and domain bound, where the
    settings say. What they need is its features; and its logits, if answers are `compared` with
    them.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA, ENGINE_UNSUITABLE, GRAPH_MISMATCH.
    """
    # The whole graph first: opening it checks that it is one.
    whole = Session.open(graph, (response_contract.LOGITS, response_contract.FEATURES), threads)
    needed = (
        (response_contract.FEATURES, response_contract.LOGITS)
        if compared
        else (response_contract.FEATURES,)
    )
    cut = _with_settings(keep_outputs(graph, needed), config)
    return whole, Session.open(cut, needed, threads, settings)


def _with_settings(graph: bytes, config: ModelConfig) -> bytes:
    """The graph with the model's step and domain in the place of inputs: what follows from them
    alone, the runtime computes once.
    """
    bound = {response_contract.EPS: config.eps}
    if config.tokens is None:
        bound[response_contract.CLIP_MIN] = config.domain.min
        bound[response_contract.CLIP_MAX] = config.domain.max
    model = onnx.load_model_from_string(graph)
    inputs = list(model.graph.input)
    del model.graph.input[:]
    model.graph.input.extend(value for value in inputs if value.name not in bound)
    for name in bound.keys() & {value.name for value in inputs}:
        value = np.array(bound[name], np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return bytes(model.SerializeToString(deterministic=True))


def check_response(graph: onnx.ModelProto | bytes, config: ModelConfig) -> ResponseShape:
    """Check that it is a response graph for this model. Raises FORMAT_REFUSED, GRAPH_MISMATCH."""
    classes = config.output.row[0]
    if config.tokens is not None:
        return response_contract.check_text_response_graph(graph, classes)
    return response_contract.check_response_graph(graph, config.input.row, classes)


def _opened(
    graph: bytes,
    outputs: tuple[str, ...],
    config: ModelConfig,
    threads: int,
    settings: RuntimeSettings,
) -> Session:
    """A graph that answers; it has been checked. Raises as `open_classifier`."""
    if settings.provider == CPU:
        graph = steady_sums(graph)
    session = Session.open(graph, outputs, threads, settings)
    inputs = (
        {config.input.name}
        if config.tokens is None
        else {response_contract.IDS, response_contract.MASK}
    )
    if session.inputs != inputs:
        raise SealgateError(Reason.GRAPH_MISMATCH, f"the graph takes {sorted(session.inputs)}")
    return session
