"""The standard health service, which knows `models/<model>` beside the names of services.

Its `Check` is open to anyone, as load balancers need it, but which models exist is not for all to
know. So a name that begins with `models/` is answered to known callers alone; to all others every
such name, of a model or not, gets the same refusal. `Watch` and `List` know the services alone.
"""

from collections.abc import Callable
from typing import Any

from grpc_health.v1 import health, health_pb2

from gateway.front_door import Call
from gateway.rights import Rights
from inference.engine import Engine
from sealgate.reasons import Reason, Refusal
from sealgate.trust.names import check_name
from sealgate.trust.rights import DEFAULT_ALIAS

_PREFIX = "models/"
# Who may ask whether a model is ready may ask it here too.
_MODEL_READY = "/inference.GRPCInferenceService/ModelReady"


class HealthService(health.HealthServicer):
    """`admit` lets a call go on whose caller is known and may call the method named."""

    def __init__(self, engine: Engine, admit: Callable[[Call, str], None], rights: Rights) -> None:
        super().__init__()
        self._engine = engine
        self._rights = rights
        self._admit = admit

    def Check(self, request: Any, call: Call) -> Any:
        """Raises, for a model: the reasons of a bad credential; NAME_MALFORMED, RIGHT_MISSING,
        MODEL_UNKNOWN.
        """
        if not request.service.startswith(_PREFIX):
            return super().Check(request, call)
        self._admit(call, _MODEL_READY)
        model = check_name(request.service.removeprefix(_PREFIX), Reason.NAME_MALFORMED)
        self._rights.check(call, "metadata", model, DEFAULT_ALIAS)
        status = health_pb2.HealthCheckResponse.SERVING
        try:
            self._engine.resolve(model)
        except Refusal as refusal:
            if refusal.reason is Reason.MODEL_UNKNOWN:
                raise
            status = health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse(status=status)
