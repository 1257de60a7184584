"""Prepares a ready ONNX model: from its file and data to the folder that publishing takes.

The file comes from outside, so confined workers parse, run and differentiate it: one brings it into
normal form, and one makes the response graph of a described model. What they answer is checked as
every source folder is.
"""

from collections.abc import Callable

import numpy as np

from inference.model.config import ModelConfig
from publishing.differentiate import (
    Answer,
    MeasuredGraph,
    Units,
    reference_layers,
    response_graph,
)
from publishing.ready.description import ModelDescription, NormalForm
from publishing.ready.normal_form import are_probabilities, normal_model, scored
from publishing.serialization import pack_tensors, parse_model, serialize_model, unpack_tensors
from publishing.source.folder import Dataset, DataSlice, SourceFolder
from registry.sandbox import process
from registry.sandbox.confinement import Confinement
from sealgate.trust import canonical, fields

NORMALIZE, RESPOND = f"{__name__}:normalize", f"{__name__}:respond"
# A softmax may leave less than float32 holds.
_FLOOR = 1e-30
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
    """Make the response graph of a described model. Raises as `prepare` does."""
    for part in (data.fit, data.calibration, data.test):
        part.check(config)
    request = pack_tensors(
        {"serving": serving, "config": config.encode()}, {"x": data.fit.x, "y": data.fit.y}
    )
    limits, unsafe = confinement.limits, confinement.unsafe
    with process.start(RESPOND, request, limits, unsafe=unsafe) as worker:
        response = worker.receive(2 * len(serving) + _HEADER)
        worker.finish()
    source = SourceFolder(config, serving, response)
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
    """In a worker: sends the response graph of a described serving graph."""
    asked = unpack_tensors(request)
    config = ModelConfig.decode(asked["config"].tobytes())
    fit = DataSlice(asked["x"], asked["y"])
    serving = parse_model(asked["serving"].tobytes())
    probable = are_probabilities(serving, config, fit.x)
    model, output, scores = scored(serving, config, _FLOOR if probable else None)
    graph = MeasuredGraph.of(model, "x", fit.x)
    classes = len(config.labels)
    # The classes that the model sees, by rows in no order.
    order = np.random.default_rng(_SEED).permutation(len(fit.x))
    units = units_of(config)
    layers = reference_layers(graph, fit.x[order], fit.y[order], classes, units)
    send(response_graph(graph, Answer(output, scores, classes), layers, units))


def units_of(config: ModelConfig) -> Units | None:
    """The ranges by which a table's columns are moved; None where all have one."""
    if not config.relative or config.table is None:
        return None
    low, span = config.table.low, config.table.span
    return Units(low.astype(np.float32), span.astype(np.float32))
