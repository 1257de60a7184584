"""Server reflection, with which grpcurl and others find services: v1, and v1alpha for older ones.

grpcio-reflection has v1alpha alone. v1 is the same messages under another package, byte for byte,
so its descriptors are made from those, and the same servicer answers both.
"""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

_SERVICE, _METHOD = "ServerReflection", "ServerReflectionInfo"


def _v1() -> ServiceDescriptor:
    """Add v1's file to the pool that reflection looks into, and return its service."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    older, newer = f".{file.package}.", ".grpc.reflection.v1."
    file.name, file.package = "grpc/reflection/v1/reflection.proto", newer.strip(".")
    for message in file.message_type:
        for field in filter(lambda field: field.type_name, message.field):
            field.type_name = field.type_name.replace(older, newer)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(older, newer)
        method.output_type = method.output_type.replace(older, newer)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(f"{file.package}.{_SERVICE}")


REFLECTION = (_v1(), reflection_pb2.DESCRIPTOR.services_by_name[_SERVICE])


class _Symbols:
    """The descriptors of this process. Protobuf's own look-up of symbols knows no methods, of which
    grpcurl asks (`describe package.Service.Method`).
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """Raises: KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file


def add_reflection(services: Sequence[ServiceDescriptor], server: grpc.Server) -> None:
    """Offer the descriptors of these services under both versions."""
    names, symbols = [service.full_name for service in services], _Symbols()
    reflection.enable_server_reflection(names, server, symbols)
    handler = grpc.stream_stream_rpc_method_handler(
        reflection.ReflectionServicer(names, symbols).ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    added = grpc.method_handlers_generic_handler(REFLECTION[0].full_name, {_METHOD: handler})
    server.add_generic_rpc_handlers((added,))
