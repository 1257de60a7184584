"""What each method of the protocol is in its REST form: its message from path and body, asked of
the same service as by gRPC, and its answer as JSON.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.front_door import Call
from gateway.http.answer import Answer, said
from gateway.http.bodies import Body
from gateway.http.infer import read_request, write_response
from gateway.http.plain import plain
from gateway.http.strict_json import members, parse, room_for
from gateway.inference_service import InferenceService
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal

_BINARY = "binary_tensor_data"
# What the protocol asks for is any 4xx.
_UNREADY = 400


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, the names in its path, its body, and how long the JSON in it is, if that was said."""

    call: Call
    names: Mapping[str, str]
    body: Body = b""
    header_length: str | None = None

    @property
    def model(self) -> str:
        return self.names["model"]

    @property
    def version(self) -> str:
        return self.names.get("version", "")


def _live(service: InferenceService, asked: Asked) -> Answer:
    return said({"live": service.ServerLive(oip.ServerLiveRequest(), asked.call).live})


def _ready(service: InferenceService, asked: Asked) -> Answer:
    ready = service.ServerReady(oip.ServerReadyRequest(), asked.call).ready
    return said({"ready": ready}, 200 if ready else _UNREADY)


def _model_ready(service: InferenceService, asked: Asked) -> Answer:
    request = oip.ModelReadyRequest(name=asked.model, version=asked.version)
    ready = service.ModelReady(request, asked.call).ready
    return said({"name": asked.model, "ready": ready}, 200 if ready else _UNREADY)


def _metadata(service: InferenceService, asked: Asked) -> Answer:
    found = service.ServerMetadata(oip.ServerMetadataRequest(), asked.call)
    found.extensions.append(_BINARY)
    return said(plain(found))


def _model_metadata(service: InferenceService, asked: Asked) -> Answer:
    request = oip.ModelMetadataRequest(name=asked.model, version=asked.version)
    return said(plain(service.ModelMetadata(request, asked.call)))


def _config(service: InferenceService, asked: Asked) -> Answer:
    request = oip.ModelConfigRequest(name=asked.model, version=asked.version)
    return said(plain(service.ModelConfig(request, asked.call).config))


def _statistics(service: InferenceService, asked: Asked) -> Answer:
    request = oip.ModelStatisticsRequest(name=asked.model, version=asked.version)
    return said(plain(service.ModelStatistics(request, asked.call)))


def _index(service: InferenceService, asked: Asked) -> Answer:
    with room_for(len(asked.body)):
        document = parse(asked.body) if asked.body else {}
        ready = members(document, frozenset(), frozenset({"ready"})).get("ready", False)
    if type(ready) is not bool:
        raise Refusal(Reason.MESSAGE_MALFORMED, "ready")
    request = oip.RepositoryIndexRequest(ready=ready)
    return said(plain(service.RepositoryIndex(request, asked.call))["models"])


def _load(service: InferenceService, asked: Asked) -> Answer:
    request = oip.RepositoryModelLoadRequest(model_name=asked.model)
    return said(plain(service.RepositoryModelLoad(request, asked.call)))


def _unload(service: InferenceService, asked: Asked) -> Answer:
    request = oip.RepositoryModelUnloadRequest(model_name=asked.model)
    return said(plain(service.RepositoryModelUnload(request, asked.call)))


def _infer(service: InferenceService, asked: Asked) -> Answer:
    request, wishes = read_request(asked.model, asked.version, asked.body, asked.header_length)
    return write_response(service.ModelInfer(request, asked.call), wishes)


OPERATIONS: Mapping[str, Callable[[InferenceService, Asked], Answer]] = {
    "ServerLive": _live,
    "ServerReady": _ready,
    "ModelReady": _model_ready,
    "ServerMetadata": _metadata,
    "ModelMetadata": _model_metadata,
    "ModelConfig": _config,
    "ModelStatistics": _statistics,
    "RepositoryIndex": _index,
    "RepositoryModelLoad": _load,
    "RepositoryModelUnload": _unload,
    "ModelInfer": _infer,
}
"""By the name of the gRPC method."""
READS_BODY = frozenset({"ModelInfer", "RepositoryIndex"})
"""Of which of them the body is looked at."""
