"""Sealgate's batcher and runtime in a gRPC server, with nothing of its governance: any graph."""

from pathlib import Path

import numpy as np
from bare_server import Service, serve
from graph import Graph, arguments

from inference.batching.batcher import Batcher
from inference.batching.limits import BatcherLimits
from inference.runtime.session import Session

_QUEUE_ROWS = 1024


class Batches:
    """The inputs of a request, of one type and shape, wait as one array [n, inputs, …]."""

    def __init__(self, path, names, output, most):
        self._names = names
        self._session = Session.open(Path(path).read_bytes(), (output,))
        self._batcher = Batcher(self._answers, BatcherLimits(max_rows=most, queue_rows=_QUEUE_ROWS))

    def run(self, inputs):
        return self._batcher.submit(np.stack([inputs[name] for name in self._names], axis=1))

    def _answers(self, requests):
        rows = requests[0] if len(requests) == 1 else np.concatenate(requests)
        feeds = {name: np.ascontiguousarray(rows[:, at]) for at, name in enumerate(self._names)}
        (found,) = self._session.run(feeds)
        return np.split(found, np.cumsum([len(each) for each in requests])[:-1])


if __name__ == "__main__":
    path, port, setting = arguments()
    declared = Graph(path)
    batches = Batches(path, list(declared.types), declared.output, setting["batch"])
    serve(Service(declared.types, declared.output, batches.run), port, setting["threads"])
