"""Sealgate's batcher and runtime in a gRPC server, with nothing of its governance: any graph."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import onnx
from graph import arguments

from inference.batching.batcher import Batcher
from inference.batching.limits import BatcherLimits
from inference.runtime.session import Session
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)

_QUEUE_ROWS = 1024


class Service(GRPCInferenceServiceServicer):
    """The inputs of a request, of one type and shape, wait as one array [n, inputs, …]."""

    def __init__(self, graph, most):
        declared = onnx.load_from_string(graph).graph
        self._types = {
            value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in declared.input
        }
        self._output = declared.output[0].name
        self._session = Session.open(graph, (self._output,))
        self._batcher = Batcher(self._run, BatcherLimits(max_rows=most, queue_rows=_QUEUE_ROWS))

    def ModelInfer(self, request, context):  # noqa: N802
        inputs = {
            tensor.name: np.frombuffer(raw, self._types[tensor.name]).reshape(tensor.shape)
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        found = self._batcher.submit(np.stack([inputs[name] for name in self._types], axis=1))
        response = oip.ModelInferResponse(model_name=request.model_name)
        response.outputs.add(name=self._output, datatype="FP32", shape=found.shape)
        response.raw_output_contents.append(found.tobytes())
        return response

    def _run(self, requests):
        rows = requests[0] if len(requests) == 1 else np.concatenate(requests)
        feeds = {name: np.ascontiguousarray(rows[:, at]) for at, name in enumerate(self._types)}
        (found,) = self._session.run(feeds)
        return np.split(found, np.cumsum([len(each) for each in requests])[:-1])


def main():
    path, port, setting = arguments()
    server = grpc.server(ThreadPoolExecutor(setting["threads"]))
    service = Service(Path(path).read_bytes(), setting["batch"])
    add_GRPCInferenceServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
