"""The standard services, health and reflection, and the list of what a gateway offers.

`Check` is open to anyone, as load balancers need it, but which models exist is not for all to
know. So a name that begins with `models/` is answered to known callers alone; to all others every
such name, of a model or not, gets the same refusal. `Watch` and `List` know the services alone,
and whoever watches is looked at again every second. The name `policy` is not serving once the
policy has expired, so that an admin brings another while its grace still runs.

grpcio-reflection has v1alpha alone. v1 is the same messages under another package, byte for byte,
so its descriptors are made from those, and the same servicer answers both.
"""

from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from gateway.auth import Rights
from gateway.calls.call import Call
from inference.engine import Engine
from sealgate.oip import grpc_service_pb2
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name
from sealgate.trust.policy import DEFAULT_ALIAS
from sealgate.v1 import (
    audit_pb2,
    credential_pb2,
    log_pb2,
    outcome_pb2,
    policy_pb2,
    registry_pb2,
    upload_pb2,
)

_PREFIX = "models/"
_POLICY = "policy"
# The right to ask whether a model is ready holds here too.
_MODEL_READY = "/inference.GRPCInferenceService/ModelReady"
_LOOK_SECONDS = 1.0
_SERVICE, _METHOD = "ServerReflection", "ServerReflectionInfo"


class HealthService(health.HealthServicer):
    """`admit` lets a call go on whose caller is known and may call the method named."""

    def __init__(self, engine: Engine, admit: Callable[[Call, str], None], rights: Rights) -> None:
        super().__init__()
        self._engine = engine
        self._rights = rights
        self._admit = admit
        self._listed: dict[str, None] = {}

    def Check(self, request: Any, call: Call) -> Any:
        """Raises, for a model: the reasons of a bad credential; NAME_MALFORMED, RIGHT_MISSING,
        MODEL_UNKNOWN.
        """
        if request.service == _POLICY:
            return _response(not self._engine.expired)
        if not request.service.startswith(_PREFIX):
            return super().Check(request, call)
        self._admit(call, _MODEL_READY)
        model = check_name(request.service.removeprefix(_PREFIX), Reason.NAME_MALFORMED)
        self._rights.check(call, "metadata", model, DEFAULT_ALIAS)
        try:
            self._engine.resolve(model)
        except SealgateError as refusal:
            if refusal.reason is Reason.MODEL_UNKNOWN:
                raise
            return _response(False)
        return _response(True)

    def List(self, request: Any, call: Call) -> Any:
        """The result of `Check` for each service and for `policy`; the same for everybody."""
        checked = health_pb2.HealthCheckRequest
        names = [*self._listed, _POLICY]
        return health_pb2.HealthListResponse(
            statuses={name: self.Check(checked(service=name), call) for name in names}
        )

    def set(self, service: str, status: Any) -> None:
        """Say how a service does; it is listed from then on."""
        self._listed[service] = None
        super().set(service, status)

    def Watch(self, request: Any, call: Call) -> Iterator[Any]:
        """Yields a service's status, and again whenever it changes. Raises: the reasons of a
        credential, and ROLE_TOO_LOW.
        """
        told: SimpleQueue[Any] = SimpleQueue()
        super().Watch(request, call, told.put)
        while call.is_active():
            try:
                status = told.get(timeout=_LOOK_SECONDS)
            except Empty:
                self._admit(call, call.method)
                continue
            if status is None:
                # The call has ended.
                return
            yield status


def _response(serving: bool) -> Any:
    known = health_pb2.HealthCheckResponse
    return known(status=known.SERVING if serving else known.NOT_SERVING)


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
SERVICES = (
    grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
    registry_pb2.DESCRIPTOR.services_by_name["RegistryService"],
    upload_pb2.DESCRIPTOR.services_by_name["UploadService"],
    policy_pb2.DESCRIPTOR.services_by_name["PolicyService"],
    credential_pb2.DESCRIPTOR.services_by_name["CredentialService"],
    log_pb2.DESCRIPTOR.services_by_name["LogService"],
    audit_pb2.DESCRIPTOR.services_by_name["AuditService"],
    outcome_pb2.DESCRIPTOR.services_by_name["OutcomeService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    *REFLECTION,
)
"""Every service that the gateway offers; each of their methods has a rule in
`gateway.auth.method_rules`.
"""


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
