"""The methods of the gateway that a client uses, by their bare names, on either kind of channel."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc

from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub


def calls_of(channel: grpc.Channel | grpc.aio.Channel) -> Mapping[str, Callable[..., Any]]:
    """Each call takes a request and `timeout`; on a channel of grpc.aio it is to be awaited."""
    stubs: dict[Any, tuple[str, ...]] = {
        GRPCInferenceServiceStub: ("ModelInfer", "ModelReady", "ModelMetadata"),
        RegistryServiceStub: ("GetPolicy",),
        LogServiceStub: ("ListLogs", "GetCheckpoint", "GetConsistencyProof"),
    }
    return {
        method: getattr(stub(channel), method)
        for stub, methods in stubs.items()
        for method in methods
    }
