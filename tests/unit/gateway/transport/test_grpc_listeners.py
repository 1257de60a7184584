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


def test_without_an_interceptor_no_method_is_offered() -> None:
    listen = Listeners(insecure="127.0.0.1:0", transport="grpcio")
    config: Any = SimpleNamespace(limits=GatewayLimits(), listen=listen)
    transport = GrpcTransport(config, None, Counter())
    add_HealthServicer_to_server(HealthServicer(), transport.server)
    transport.server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{transport.ports['insecure']}") as channel:
            stub = HealthStub(channel)
            answered = stub.Check.future(health_pb2.HealthCheckRequest(), timeout=30)
            assert answered.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        transport.server.stop(None).wait()
