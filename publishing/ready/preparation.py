"""Prepares a ready ONNX model: from its file and data to the folder that publishing takes.

The file comes from outside, so confined workers parse, run and differentiate it: one brings it into
normal form, and one makes the response graph of a described model. What they answer is checked as
every source folder is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx

from inference.model.config import ModelConfig
from publishing.differentiate import (
    Answer,
    ColumnLikelihood,
    ColumnMoves,
    MeasuredGraph,
    Units,
    add_leaves,
    difference_graph,
    influential,
    reference_layers,
    response_graph,
    unsupported,
)
from publishing.ready.description import ModelDescription, NormalForm
from publishing.ready.linear_operators import ML
from publishing.ready.normal_form import normal_model
from publishing.ready.scores import are_probabilities, scored
from publishing.serialization import pack_tensors, parse_model, serialize_model, unpack_tensors
from publishing.source.folder import Dataset, DataSlice, SourceFolder
from registry.sandbox import process
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields

NORMALIZE, RESPOND = f"{__name__}:normalize", f"{__name__}:respond"
# A softmax may leave less than float32 holds; a forest's share of votes is often zero.
_FLOOR, _TREE_FLOOR = 1e-30, 1e-3
_LOOKED_AT = 200
_YES, _NO = b"1", b"0"
_SEED = 0
_HEADER = 64 << 20


def prepare(
    model: bytes, data: Dataset, description: ModelDescription, confinement: Confinement
) -> SourceFolder:
    """Make a source folder of a ready model.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA, GRAPH_MISMATCH, GRADIENT_MISSING, DOCUMENT_MALFORMED,
    PARAMETER_MALFORMED, TENSOR_RANGE, and the reasons of a worker.
    """
    limits, unsafe = confinement.limits, confinement.unsafe
    about = canonical.encode({"output": description.output or ""})
    request = pack_tensors({"model": model, "about": about}, {"x": data.fit.x})
    with process.start(NORMALIZE, request, limits, unsafe=unsafe) as worker:
        serving = worker.receive(2 * len(model) + _HEADER)
        form = NormalForm.decode(worker.receive(_HEADER))
        worker.finish()
    config = description.config(form, data)
    return add_response(config, serving, data, confinement)


def add_response(
    config: ModelConfig, serving: bytes, data: Dataset, confinement: Confinement
) -> SourceFolder:
    """Make the response graph of a described model: by its gradient or, if it is one of trees or
    the configuration says so, by finite differences. Raises as `prepare` does.
    """
    for part in (data.fit, data.calibration, data.test):
        part.check(config)
    request = pack_tensors(
        {"serving": serving, "config": config.encode()}, {"x": data.fit.x, "y": data.fit.y}
    )
    limits, unsafe = confinement.limits, confinement.unsafe
    with process.start(RESPOND, request, limits, unsafe=unsafe) as worker:
        response = worker.receive(2 * len(serving) + _HEADER)
        by_differences = worker.receive(1) == _YES
        worker.finish()
    source = SourceFolder(replace(config, differences=by_differences), serving, response)
    source.check()
    return source


def normalize(request: bytes, send: Callable[[bytes], None]) -> None:
    """In a worker: sends the serving graph, and what it takes and gives."""
    asked = unpack_tensors(request)
    about = fields.record(canonical.decode(asked["about"].tobytes()), ("output",))
    found = normal_model(asked["model"].tobytes(), asked["x"], about["output"] or None)
    send(serialize_model(found.model))
    send(NormalForm(found.input, found.output, found.classes).encode())


def respond(request: bytes, send: Callable[[bytes], None]) -> None:
    """In a worker: sends the response graph of a described serving graph, and whether that is by
    finite differences.
    """
    asked = unpack_tensors(request)
    config = ModelConfig.decode(asked["config"].tobytes())
    # Rows in no order, so that the first ones are like all.
    order = np.random.default_rng(_SEED).permutation(len(asked["x"]))
    fit = DataSlice(asked["x"][order], asked["y"][order])
    model = _scored(parse_model(asked["serving"].tobytes()), config, fit, _FLOOR)
    lacking = unsupported(model.graph, model.answer.scores)
    trees = any(name.startswith(f"{ML}:") for name in lacking)
    chosen = trees or config.differences
    if trees:
        model = _scored(parse_model(asked["serving"].tobytes()), config, fit, _TREE_FLOOR)
    if chosen:
        send(_by_differences(model, config, fit))
    else:
        units = units_of(config)
        classes = len(config.labels)
        layers = reference_layers(model.graph, fit.x, fit.y, classes, units)
        send(response_graph(model.graph, model.answer, layers, units))
    send(_YES if chosen else _NO)


@dataclass(frozen=True, slots=True, eq=False)
class _ScoredModel:
    """A measured graph with scores; `leaves` is the tensor of its trees' leaves, if it has any."""

    graph: MeasuredGraph
    answer: Answer
    leaves: str | None


def _scored(
    serving: onnx.ModelProto, config: ModelConfig, fit: DataSlice, floor: float
) -> _ScoredModel:
    probable = are_probabilities(serving, config, fit.x)
    model, output, scores = scored(serving, config, floor if probable else None)
    leaves = add_leaves(model)
    graph = MeasuredGraph.of(model, "x", fit.x)
    return _ScoredModel(graph, Answer(output, scores, len(config.labels)), leaves)


def _by_differences(model: _ScoredModel, config: ModelConfig, fit: DataSlice) -> bytes:
    """Raises GRADIENT_MISSING where rows are no table whose columns have ranges."""
    units, rules = units_of(config), config.table
    if units is None or rules is None:
        detail = "finite differences need a table: rows of one dimension, without --domain"
        raise SealgateError(Reason.GRADIENT_MISSING, detail)
    graph, answer, x, y = model.graph, model.answer, fit.x, fit.y
    columns = influential(graph, answer.scores, units, rules.free, x[:_LOOKED_AT])
    moves = ColumnMoves.of(units, rules.whole, columns)
    also = [model.leaves] if model.leaves else []
    layers = reference_layers(graph, x, y, answer.classes, units, also)
    likelihood = ColumnLikelihood.fit(x, y, answer.classes)
    return difference_graph(graph, answer, units, moves, layers, likelihood)


def units_of(config: ModelConfig) -> Units | None:
    """The ranges by which a table's columns are moved; None where all have one."""
    if not config.relative or config.table is None:
        return None
    low, span = config.table.low, config.table.span
    return Units(low.astype(np.float32), span.astype(np.float32))
