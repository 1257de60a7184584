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


def inputs_of(request, types):
    """The inputs of a request, by name; `types` has each one's type."""
    return {
        tensor.name: np.frombuffer(raw, types[tensor.name]).reshape(tensor.shape)
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }


def answer_of(request, output, found):
    """The answer to a request with one output."""
    response = oip.ModelInferResponse(model_name=request.model_name)
    response.outputs.add(name=output, datatype="FP32", shape=found.shape)
    response.raw_output_contents.append(found.tobytes())
    return response


class Service(GRPCInferenceServiceServicer):
    """Answers by a graph."""

    def __init__(self, graph):
        self._graph = graph

    def ModelInfer(self, request, context):  # noqa: N802
        found = self._graph.run(inputs_of(request, self._graph.types))
        return answer_of(request, self._graph.output, found)


def serve(service, port, threads):
    server = grpc.server(ThreadPoolExecutor(threads))
    add_GRPCInferenceServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    path, port, setting = arguments()
    serve(Service(Graph(path)), port, setting["threads"])
