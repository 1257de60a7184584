"""Opens the ONNX graphs of a version, finds their layers, and checks that each is what it is named.

The search for the last layer goes back from the logits through a bias, and through what
quantization inserts, to the product of rows with constant weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from inference.model.config import ModelConfig
from inference.runtime import response_contract
from inference.runtime.graph_rewrites import keep_outputs, steady_sums, with_outputs
from inference.runtime.response_contract import ResponseShape
from inference.runtime.session import Session
from inference.runtime.settings import CPU, ON_CPU, RuntimeSettings
from inference.screening.first_stage import FirstStage, RunOutputs, WordTables
from registry.formats.format_check import check_file
from sealgate.reasons import Reason, SealgateError

Weight = npt.NDArray[np.float32]
_THROUGH = ("Add", "Identity", "QuantizeLinear", "DequantizeLinear")
_PRODUCTS = ("Gemm", "MatMul")
Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]

# Files are checked by what their names say they are; a graph in memory has none.
_NAME = "graph.onnx"


@dataclass(frozen=True, slots=True, eq=False)
class LastLayer:
    """`entered` is the tensor [n, D] that enters it, by name; `weight` is [C, D]."""

    entered: str
    weight: Weight


def find_last_layer(model: bytes, logits: str) -> LastLayer:
    """The last layer of a checked ONNX model. Raises GRAPH_MISMATCH where it does not end in one,
    or where nothing lies before it.
    """
    graph = onnx.load_model_from_string(model).graph
    return _Walk(graph).from_logits(logits)


def find_embeddings(model: bytes, ids: str) -> str:
    """The tensor [n, s, W] that a constant table gives for the input `ids`, by name. Raises
    GRAPH_MISMATCH where there is none.
    """
    return _Walk(onnx.load_model_from_string(model).graph).from_ids(ids)


class _Walk:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._nodes = graph.node

    def from_ids(self, ids: str) -> str:
        same, found = {ids}, []
        for node in self._nodes:
            if node.op_type in ("Cast", "Identity") and node.input[0] in same:
                same.add(node.output[0])
            if node.op_type == "Gather" and node.input[1] in same:
                found.append(node)
        if len(found) != 1 or not self._is_constant(found[0].input[0]):
            raise SealgateError(Reason.GRAPH_MISMATCH, "the graph has no table of embeddings")
        return self._behind_rounding(found[0].output[0])

    def _behind_rounding(self, name: str) -> str:
        """The dequantized tensor behind this one, if there is one; otherwise this one.

        If an earlier tensor is requested, the runtime dequantizes the whole table in each run.
        """
        integers = self._follower(name, "QuantizeLinear") or name
        return self._follower(integers, "DequantizeLinear") or name

    def _follower(self, name: str, kind: str) -> str | None:
        """The output of a node of that kind that reads the tensor; None if there is none."""
        following = (n for n in self._nodes if n.op_type == kind and n.input[0] == name)
        return next((str(node.output[0]) for node in following), None)

    def from_logits(self, name: str) -> LastLayer:
        node = self._makers.get(name)
        while node is not None and node.op_type in _THROUGH:
            node = self._makers.get(self._moving(node))
        if node is None or node.op_type not in _PRODUCTS or len(node.input) < 2:
            raise _refused("it does not end in a product")
        if self._is_constant(node.input[0]) or not self._is_constant(node.input[1]):
            raise _refused("its last product is not one with constant weights")
        return LastLayer(self._before_rounding(node.input[0]), self._weight(node))

    def _weight(self, node: onnx.NodeProto) -> Weight:
        value = self._value(node.input[1])
        options = {option.name: option for option in node.attribute}
        flipped = "transB" in options and options["transB"].i == 1
        if value.ndim != 2 or ("transA" in options and options["transA"].i == 1):
            raise _refused("its last product is of another form")
        alpha = options["alpha"].f if "alpha" in options else 1.0
        return np.ascontiguousarray(alpha * (value if flipped else value.T), np.float32)

    def _before_rounding(self, name: str) -> str:
        """The float tensor behind a pair that quantizes it, which some node makes."""
        node = self._makers.get(name)
        while node is not None and node.op_type in ("DequantizeLinear", "QuantizeLinear"):
            name = node.input[0]
            node = self._makers.get(name)
        if node is None:
            raise _refused("nothing lies before its last layer")
        return name

    def _moving(self, node: onnx.NodeProto) -> str:
        """The input that depends on the rows; of an Add, one of both."""
        moving = [name for name in node.input if name and not self._is_constant(name)]
        if len(moving) != 1:
            raise _refused("it ends in more than one layer")
        return moving[0]

    def _is_constant(self, name: str) -> bool:
        if name in self._constants:
            return True
        node = self._makers.get(name)
        if node is None or node.op_type not in ("DequantizeLinear", "Transpose", "Identity"):
            return False
        return all(self._is_constant(each) for each in node.input if each)

    def _value(self, name: str) -> npt.NDArray[Any]:
        if name in self._constants:
            return np.asarray(numpy_helper.to_array(self._constants[name]))
        node = self._makers[name]
        if node.op_type == "Identity":
            return self._value(node.input[0])
        if node.op_type == "Transpose":
            return self._value(node.input[0]).T
        stored, scale, *zero = (self._value(each) for each in node.input if each)
        axis = next((option.i for option in node.attribute if option.name == "axis"), 1)
        along = [1] * stored.ndim
        if scale.size > 1:
            along[axis] = -1
        shift = zero[0].astype(np.float32).reshape(along) if zero else np.float32(0)
        found: npt.NDArray[Any] = (stored.astype(np.float32) - shift) * scale.reshape(along)
        return found


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.GRAPH_MISMATCH, f"the graph has no last layer: {detail}")


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
        """Run the graph on rows."""
        return self.shown(feeds, self.session.run(feeds))

    def shown(self, feeds: Feeds, outputs: Sequence[Array]) -> RunOutputs:
        """The first stage's inputs, from the session's `outputs` for `feeds`."""
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
    """The word tables of a checked response graph; None if it has none, or if `stage` does not read
    them: stages of earlier releases read embeddings.

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
    """Two sessions of the response graph: the graph as signed, on the CPU, and the one that
    requests run, on the provider of the settings.

    The second is compared with the first. It has the model's step and domain bound, and is pruned
    to the outputs that requests need: the features, and the logits if answers are `compared` with
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


def open_reference(
    graph: bytes, config: ModelConfig, threads: int, settings: RuntimeSettings = ON_CPU
) -> Session:
    """The float32 forward of a response graph that has been opened before, by itself. Whether it
    answers another class than INT8 must not depend on the batch, so its sums are steady. Raises:
    ENGINE_UNSUITABLE.
    """
    needed = (response_contract.LOGITS,)
    forward = keep_outputs(_with_settings(graph, config), needed)
    if settings.provider == CPU:
        forward = steady_sums(forward)
    return Session.open(forward, needed, threads, settings)


def _with_settings(graph: bytes, config: ModelConfig) -> bytes:
    """The graph with the model's step and domain as constants instead of inputs: the runtime
    computes once what depends only on them.
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
