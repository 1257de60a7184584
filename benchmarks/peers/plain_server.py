"""Sealgate's transport, batcher and runtime, with nothing of its governance: any graph."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
from bare_server import answer_of, inputs_of
from graph import Graph, arguments

from gateway.admission.overload import Threads
from gateway.config.sections import GatewayLimits, Listeners
from gateway.transport.connections import Bounds
from gateway.transport.native import NativeFront, UpstreamSocket, front_limits
from inference.batching.batcher import Batcher
from inference.batching.job import DEFAULT_OPTIONS
from inference.batching.limits import BatcherLimits
from inference.runtime.session import Session
from sealgate.oip import grpc_service_pb2 as oip

_QUEUE_ROWS = 1024
_LIMITS = GatewayLimits()


class PlainBursts:
    """Answers bursts of calls. The inputs of each, of one type and shape, wait as one array
    [n, inputs, …].
    """

    def __init__(self, path, declared, most, threads):
        self._declared = declared
        self._session = Session.open(Path(path).read_bytes(), (declared.output,))
        self._batcher = Batcher(self._answers, BatcherLimits(max_rows=most, queue_rows=_QUEUE_ROWS))
        self._threads = Threads(threads)

    def __call__(self, burst):
        self._threads.submit(self._answer, burst)

    def _answer(self, burst):
        asked = [oip.ModelInferRequest.FromString(each.message) for each in burst]
        rows = map(self._rows, asked)
        found = self._batcher.submit_all((each, DEFAULT_OPTIONS, 0) for each in rows)
        for context, request, each in zip(burst, asked, found, strict=True):
            answer = answer_of(request, self._declared.output, each)
            context.answer(answer.SerializeToString())

    def _rows(self, request):
        inputs = inputs_of(request, self._declared.types)
        return np.stack([inputs[name] for name in self._declared.types], axis=1)

    def _answers(self, requests):
        rows = requests[0] if len(requests) == 1 else np.concatenate(requests)
        names = enumerate(self._declared.types)
        feeds = {name: np.ascontiguousarray(rows[:, at]) for at, name in names}
        (found,) = self._session.run(feeds)
        return np.split(found, np.cumsum([len(each) for each in requests])[:-1])


def serve(bursts, port):
    """Serve until the process ends; there is nothing behind the front."""
    upstream = UpstreamSocket()
    behind = grpc.server(ThreadPoolExecutor(1))
    upstream.listen(behind)
    bounds = Bounds.of(_LIMITS), front_limits(_LIMITS, 0)
    listen = Listeners(insecure=f"127.0.0.1:{port}")
    front = NativeFront(listen, None, upstream, *bounds, count_refused=lambda count: None)
    behind.start()
    front.start(bursts)
    threading.Event().wait()


if __name__ == "__main__":
    path, port, setting = arguments()
    serve(PlainBursts(path, Graph(path), setting["batch"], setting["threads"]), port)
