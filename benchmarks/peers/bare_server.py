"""A synchronous gRPC server with the model and nothing else: the floor of any Python server."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from graph import Graph, arguments

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)


class Service(GRPCInferenceServiceServicer):
    """Answers by `run`, which is given the inputs by name; `types` has each one's type."""

    def __init__(self, types, output, run):
        self._types, self._output, self._run = types, output, run

    def ModelInfer(self, request, context):  # noqa: N802
        inputs = {
            tensor.name: np.frombuffer(raw, self._types[tensor.name]).reshape(tensor.shape)
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        found = self._run(inputs)
        response = oip.ModelInferResponse(model_name=request.model_name)
        response.outputs.add(name=self._output, datatype="FP32", shape=found.shape)
        response.raw_output_contents.append(found.tobytes())
        return response


def serve(service, port, threads):
    server = grpc.server(ThreadPoolExecutor(threads))
    add_GRPCInferenceServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    path, port, setting = arguments()
    graph = Graph(path)
    serve(Service(graph.types, graph.output, graph.run), port, setting["threads"])
