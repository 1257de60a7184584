"""`make bench NAME=response`: what the response graph costs, in forwards of the INT8 graph.

The demo's digits on one thread: the INT8 graph in turns with the response graph, as an engine opens
it, and with the float32 forward alone that it begins with. Writes results/response.json.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import onnx

from benchmarks.figures import Spread, ratio
from benchmarks.report import Target, finish, show
from demo.materials import MODELS, test_rows
from inference.engine.graphs import open_response
from inference.model.config import ModelConfig
from inference.model.inputs import form_of
from inference.runtime import response_contract
from inference.runtime.graph_rewrites import keep_outputs
from inference.runtime.session import Session
from publishing.quantization import quantize

_BATCHES = (1, 8, 32)
_RUNS = 50
_ROUNDS = 21
_INT8, _FLOAT32, _RESPONSE = "INT8 forward", "float32 forward", "response graph"
_TARGET = "response graph on digits at batch 32, in INT8 forwards"
_WHY = (
    "so small a model's INT8 forward takes .4 us a row, the graph 11: its products alone are eight "
    "float32 forwards (forward, gradient and three steps; distances from ten classes in three "
    "layers), the nearest of 55 training rows of each class take a third, and the rest is 140 "
    "small nodes. It is 7% of what an answer costs"
)


@dataclass(frozen=True, slots=True)
class CountedGraph:
    """What is measured: `run` with rows [n, ...]; `nodes` are those before the runtime fuses."""

    nodes: int
    run: Callable[[Any], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", default="digits-standard", choices=("digits-standard", "digits-hardened")
    )
    rows = measured(parser.parse_args().model)
    show(rows, title=f"CPU-us of a run, in {_ROUNDS} rounds: median (least to most)")
    value = next(
        row["forwards"]["median"]
        for row in rows
        if (row["what"], row["batch"]) == (_RESPONSE, _BATCHES[-1])
    )
    finish("response", rows, [Target(_TARGET, value, 5.0).unless_met({_TARGET: _WHY})])


def measured(model: str) -> list[dict[str, Any]]:
    graphs, x = _graphs(model), test_rows("digits")
    rows = []
    for batch in _BATCHES:
        times: dict[str, list[float]] = {what: [] for what in graphs}
        for _ in range(_ROUNDS):
            for what, graph in graphs.items():
                times[what].append(_cpu_us(partial(graph.run, x[:batch])))
        for what, graph in graphs.items():
            rows.append(
                {
                    "what": what,
                    "batch": batch,
                    "nodes": graph.nodes,
                    "cpu_us": asdict(Spread.of(times[what])),
                    "forwards": asdict(ratio(times[what], times[_INT8])),
                }
            )
    return rows


def _graphs(model: str) -> dict[str, CountedGraph]:
    folder = MODELS / model
    config = ModelConfig.read((folder / "model.json").read_bytes())
    form, output = form_of(config), config.output.name
    response = (folder / "response.onnx").read_bytes()
    serving = (folder / "serving.onnx").read_bytes()
    int8 = quantize(serving, config.input.name, test_rows("digits"))
    forward = keep_outputs(response, (response_contract.LOGITS,))
    served = Session.open(int8, (output,))
    alone = Session.open(forward, (response_contract.LOGITS,))
    whole = open_response(response, config, 1, compared=True)[1]
    return {
        _INT8: CountedGraph(_nodes(int8), lambda x: served.run(form.serving(x))),
        _FLOAT32: CountedGraph(_nodes(forward), lambda x: alone.run(form.screening(x))),
        _RESPONSE: CountedGraph(_nodes(response), lambda x: whole.run(form.screening(x))),
    }


def _nodes(graph: bytes) -> int:
    return len(onnx.load_model_from_string(graph).graph.node)


def _cpu_us(run: Callable[[], Any]) -> float:
    run()
    begun = time.thread_time()
    for _ in range(_RUNS):
        run()
    return 1e6 * (time.thread_time() - begun) / _RUNS


if __name__ == "__main__":
    main()
