"""The gRPC listeners: bound when they are built, and guarded before they answer."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2_grpc import HealthStub, add_HealthServicer_to_server

from gateway.config.sections import GatewayLimits, Listeners
from gateway.transport.grpc_listeners import GrpcTransport


def grpcio(address: str) -> GrpcTransport:
    listen = Listeners(insecure=address, transport="grpcio")
    config: Any = SimpleNamespace(limits=GatewayLimits(), listen=listen)
    return GrpcTransport(config, None, Counter())


def test_without_an_interceptor_no_method_is_offered() -> None:
    transport = grpcio("127.0.0.1:0")
    add_HealthServicer_to_server(HealthServicer(), transport.server)
    transport.server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{transport.ports['insecure']}") as channel:
            stub = HealthStub(channel)
            answered = stub.Check.future(health_pb2.HealthCheckRequest(), timeout=30)
            assert answered.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        transport.server.stop(None).wait()


def test_one_that_never_started_frees_its_ports() -> None:
    """A gateway whose databases cannot be opened has bound them, and the next one needs them."""
    transport = grpcio("127.0.0.1:0")
    address = f"127.0.0.1:{transport.ports['insecure']}"
    transport.stop(None)
    grpcio(address).stop(None)
