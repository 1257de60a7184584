"""Prepares a ready ONNX model: from its file and data to the folder that publishing takes.

The file comes from outside, so confined workers parse, run and differentiate it: one brings it into
normal form, and one makes the response graph of a described model. Their answers are checked as
every source folder is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx

from inference.model.config import ModelConfig
from inference.model.decisions import Labels, Numbers
from inference.model.request_tensors import decode_tensors
from inference.runtime.session import Session
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
from publishing.ready.float_rows import described_inputs, is_wide, read_inputs
from publishing.ready.normal_form import normal_model
from publishing.ready.rows import Inputs
from publishing.ready.scores import ML, are_probabilities, scored
from publishing.serialization import pack_tensors, parse_model, serialize_model, unpack_tensors
from publishing.source.dataset import Dataset, DataSlice
from publishing.source.folder import SourceFolder
from registry.sandbox import process
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields

DESCRIBE = f"{__name__}:describe"
NORMALIZE, RESPOND = f"{__name__}:normalize", f"{__name__}:respond"
NARROW = f"{__name__}:narrow"
# A softmax may leave less than float32 holds; a forest's share of votes is often zero.
_FLOOR, _TREE_FLOOR = 1e-30, 1e-3
_LOOKED_AT, _ANSWERED = 200, 2000
_YES, _NO = b"1", b"0"
_HEADER = 64 << 20


def prepare(
    model: bytes,
    data: Dataset,
    description: ModelDescription,
    confinement: Confinement,
    screened: bool = True,
) -> SourceFolder:
    """Make a source folder of a ready model, without a response graph unless it is `screened`.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA, GRAPH_MISMATCH, GRADIENT_MISSING, DOCUMENT_MALFORMED,
    PARAMETER_MALFORMED, TENSOR_RANGE, and the reasons of a worker.
    """
    limits, unsafe = confinement.limits, confinement.unsafe
    kind = data.fit.kind
    tensors = [tensor.encode() for tensor in description.tensors]
    about = canonical.encode({"output": description.output or "", "kind": kind, "tensors": tensors})
    request = pack_tensors({"model": model, "about": about}, {"x": data.fit.x})
    with process.start(NORMALIZE, request, limits, unsafe=unsafe) as worker:
        serving = worker.receive(2 * len(model) + _HEADER)
        form = NormalForm.decode(worker.receive(_HEADER))
        answers = _answers(worker.receive(4 * len(data.fit.x) * form.width + _HEADER), form)
        worker.finish()
    config = description.config(form, data, answers)
    if screened:
        return add_response(config, serving, data, confinement)
    data.check(config)
    source = SourceFolder(config, serving, b"")
    source.check()
    return source


def add_response(
    config: ModelConfig, serving: bytes, data: Dataset, confinement: Confinement
) -> SourceFolder:
    """Make the response graph of a described model: by its gradient or, if it is one of trees or
    the configuration says so, by finite differences. It keeps rows of the first half of the fit
    slice alone. Raises CALIBRATION_TOO_SMALL, and as `prepare` does.
    """
    data.check(config)
    kept, _ = data.fit.halves()
    request = pack_tensors(
        {"serving": serving, "config": config.encode()}, {"x": kept.x, "y": kept.y}
    )
    limits, unsafe = confinement.limits, confinement.unsafe
    with process.start(RESPOND, request, limits, unsafe=unsafe) as worker:
        response = worker.receive(2 * len(serving) + _HEADER)
        by_differences = worker.receive(1) == _YES
        worker.finish()
    described = replace(config, differences=by_differences)
    source = SourceFolder(described, serving, response, keeps_rows=True)
    source.check()
    return source


def in_float32(
    config: ModelConfig, serving: bytes, data: Dataset, confinement: Confinement
) -> bytes:
    """The serving graph of a described model, rewritten if it is of float64 or float16. Raises
    GRAPH_MISMATCH where it then answers differently, and as `prepare` does.
    """
    if config.tokens is not None:
        return serving
    data.check(config)
    request = pack_tensors({"serving": serving, "config": config.encode()}, {"x": data.fit.x})
    limits, unsafe = confinement.limits, confinement.unsafe
    with process.start(NARROW, request, limits, unsafe=unsafe) as worker:
        found = worker.receive(2 * len(serving) + _HEADER)
        worker.finish()
    return found


def inputs_of(model: bytes, confinement: Confinement) -> Inputs:
    """The inputs of a ready model: name, data type and sizes of each. Raises as `prepare`."""
    limits, unsafe = confinement.limits, confinement.unsafe
    with process.start(DESCRIBE, model, limits, unsafe=unsafe) as worker:
        found = read_inputs(worker.receive(_HEADER))
        worker.finish()
    return found


def describe(request: bytes, send: Callable[[bytes], None]) -> None:
    """In a worker: sends what the model takes."""
    send(described_inputs(parse_model(request)))


def normalize(request: bytes, send: Callable[[bytes], None]) -> None:
    """In a worker: sends the serving graph, what it takes and gives, and its answers to the first
    rows.
    """
    asked = unpack_tensors(request)
    about = fields.record(canonical.decode(asked["about"].tobytes()), ("output", "kind", "tensors"))
    tensors = decode_tensors(about["tensors"]) if about["tensors"] else ()
    model, x = asked["model"].tobytes(), asked["x"]
    found = normal_model(model, x, about["output"] or None, about["kind"], tensors)
    serving = serialize_model(found.model)
    send(serving)
    send(NormalForm(found.input, found.output, found.width).encode())
    (answers,) = Session.open(serving, [found.output]).run({found.input: x[:_ANSWERED]})
    send(np.ascontiguousarray(answers, np.float32).tobytes())


def narrow(request: bytes, send: Callable[[bytes], None]) -> None:
    """In a worker: sends the serving graph, in float32."""
    asked = unpack_tensors(request)
    config, serving = ModelConfig.decode(asked["config"].tobytes()), asked["serving"].tobytes()
    if is_wide(parse_model(serving).graph):
        # Of no kind, so that no output gains a class that the configuration does not name.
        found = normal_model(serving, asked["x"], config.output.name, kind="")
        serving = serialize_model(found.model)
    send(serving)


def _answers(data: bytes, form: NormalForm) -> npt.NDArray[np.float32]:
    if len(data) % (4 * form.width):
        raise SealgateError(Reason.WORKER_FAILED, "its answers are of another width")
    return np.frombuffer(data, np.float32).reshape(-1, form.width)


def respond(request: bytes, send: Callable[[bytes], None]) -> None:
    """In a worker: sends the response graph of a described serving graph, and whether that is by
    finite differences.
    """
    asked = unpack_tensors(request)
    config = ModelConfig.decode(asked["config"].tobytes())
    # In no order, so that the first ones are like all.
    fit = DataSlice(asked["x"], asked["y"])
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
        y, classes = config.decision.groups(fit.y), model.answer.classes
        layers = reference_layers(model.graph, fit.x, y, classes, units)
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
    width, decision = len(config.labels), config.decision
    levels = len(decision.levels) if isinstance(decision, Numbers | Labels) else width
    return _ScoredModel(graph, Answer(output, scores, levels, width), leaves)


def _by_differences(model: _ScoredModel, config: ModelConfig, fit: DataSlice) -> bytes:
    """Raises GRADIENT_MISSING where rows are no table whose columns have ranges."""
    units, rules = units_of(config), config.table
    if units is None or rules is None:
        detail = (
            "finite differences need a table: rows of one dimension, without --domain; others are"
            " published --without-screening, where the policy lets the model go without"
        )
        raise SealgateError(Reason.GRADIENT_MISSING, detail)
    graph, answer, x = model.graph, model.answer, fit.x
    y = config.decision.groups(fit.y)
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
