"""The standard health service, which knows `models/<model>` beside the names of services.

Its `Check` is open to anyone, as load balancers need it, but which models exist is not for all to
know. So a name that begins with `models/` is answered to known callers alone; to all others every
such name, of a model or not, gets the same refusal. `Watch` and `List` know the services alone,
and whoever watches is looked at again every second. The name `policy` is not serving once the
policy has expired, so that an admin brings another while its grace still runs.
"""

from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from grpc_health.v1 import health, health_pb2

from gateway.auth.rights import Rights
from gateway.calls.call import Call
from inference.engine.engine import Engine
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name
from sealgate.trust.policy import DEFAULT_ALIAS

_PREFIX = "models/"
_POLICY = "policy"
# The right to ask whether a model is ready holds here too.
_MODEL_READY = "/inference.GRPCInferenceService/ModelReady"
_LOOK_SECONDS = 1.0


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
        """What `Check` says of each service, and of `policy`; the same to everybody."""
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
