"""BentoML with the model, over HTTP with JSON; run as a program it starts the server."""

import json
import os
import sys
from pathlib import Path

import bentoml
import numpy as np
from graph import Graph, arguments

_SETTING = json.loads(os.environ.get("BENCH_SETTING", '{"workers": 1, "batch": 0, "delay": 0}'))
_BATCHING = (
    {
        "batchable": True,
        "max_batch_size": _SETTING["batch"],
        "max_latency_ms": _SETTING["delay"],
    }
    if _SETTING["batch"]
    else {}
)


@bentoml.service(
    workers=_SETTING["workers"], traffic={"timeout": 10}, logging={"access": {"enabled": False}}
)
class Onnx:
    def __init__(self):
        self._graph = Graph(os.environ["BENCH_GRAPH"])

    if os.environ.get("BENCH_INPUTS") == "x":

        @bentoml.api(route="/infer", **_BATCHING)
        def infer(self, x: np.ndarray) -> np.ndarray:
            return self._graph.run({"x": np.asarray(x, np.float32)})

    else:
        # One argument, [rows, 2, sequence]: BentoML batches along one argument only.
        @bentoml.api(route="/infer", **_BATCHING)
        def infer(self, x: np.ndarray) -> np.ndarray:
            pair = np.asarray(x, np.int64)
            names = list(self._graph.types)
            return self._graph.run({name: pair[:, place] for place, name in enumerate(names)})


def main():
    path, port, setting = arguments()
    names = list(Graph(path).types)
    os.environ.update(
        BENCH_GRAPH=path,
        BENCH_SETTING=json.dumps(setting),
        BENCH_INPUTS=names[0] if len(names) == 1 else "pair",
        BENTOML_DO_NOT_TRACK="True",
    )
    program = str(Path(sys.executable).with_name("bentoml"))
    here = Path(__file__).parent
    words = [program, "serve", "bentoml_service:Onnx", "--working-dir", str(here)]
    os.execv(program, [*words, "--host", "127.0.0.1", "--port", str(port)])  # noqa: S606


if __name__ == "__main__":
    main()
