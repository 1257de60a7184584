"""Reflection finds every kind of symbol that grpcurl asks for."""

from concurrent import futures

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from gateway.services.health import REFLECTION, add_reflection
from sealgate.oip import grpc_service_pb2 as oip

SERVICE = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_methods_are_found_as_services_and_messages_are(version: str) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    add_reflection([SERVICE, *REFLECTION], server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    symbols = (
        SERVICE.full_name,
        f"{SERVICE.full_name}.ModelInfer",
        oip.ModelInferRequest.DESCRIPTOR.full_name,
        f"{SERVICE.full_name}.Nothing",
    )
    asked = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol) for symbol in symbols
    ]
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                reflection_pb2.ServerReflectionRequest.SerializeToString,
                reflection_pb2.ServerReflectionResponse.FromString,
            )
            *found, unknown = call(iter(asked), timeout=60)
    finally:
        server.stop(None).wait()
    written = oip.DESCRIPTOR.serialized_pb
    assert all(written in answer.file_descriptor_response.file_descriptor_proto for answer in found)
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
