"""The methods of the protocol in their REST form, or in OpenAI's: paths, messages and answers.

A message is made of path and body, and asked of the same service as by gRPC; its answer is written
as JSON. Each path is one gRPC method. The same rules hold for both, and so the answer log has one
name for a method, however it came.
"""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

from gateway.calls.call import Call
from gateway.calls.messages import Body
from gateway.services import InferenceService
from gateway.transport.http.bodies import (
    EVENTS,
    HttpAnswer,
    HttpStream,
    members,
    openai_error,
    parse,
    plain,
    room_for,
    said,
)
from gateway.transport.http.chat import DONE, Chat, event, read_chat
from gateway.transport.http.infer import read_request, write_response
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError

OPENAPI = "/v2/openapi.json"
"""Where the description of all this is, for anyone."""

OPENAI = "/v1/"
"""How the paths begin whose requests and answers have OpenAI's form."""
CHAT = "OpenAiChat"

_SERVICE = "/inference.GRPCInferenceService/"
_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
_BINARY = "binary_tensor_data"
# The protocol asks for any 4xx.
_UNREADY = 400


@dataclass(frozen=True, slots=True)
class Route:
    """A verb and a path, whose names in braces stand for one segment each; `rpc` is the method, and
    `operation` what answers, where that is not the method itself.
    """

    verb: str
    path: str
    rpc: str
    operation: str = ""
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/?#]+)", re.escape(self.path))
        object.__setattr__(self, "_pattern", re.compile(pattern))
        object.__setattr__(self, "operation", self.operation or self.rpc)

    @property
    def method(self) -> str:
        """The path of the gRPC method."""
        return _SERVICE + self.rpc

    def match(self, target: str) -> Mapping[str, str] | None:
        """The names that a request's target gives; None where it is another path."""
        found = self._pattern.fullmatch(target)
        return found and found.groupdict()


ROUTES = (
    *(Route("POST", f"{model}/infer", "ModelInfer") for model in _MODEL),
    Route("GET", "/v2/health/live", "ServerLive"),
    Route("GET", "/v2/health/ready", "ServerReady"),
    Route("GET", "/v2", "ServerMetadata"),
    *(Route("GET", model, "ModelMetadata") for model in _MODEL),
    *(Route("GET", f"{model}/ready", "ModelReady") for model in _MODEL),
    *(Route("GET", f"{model}/config", "ModelConfig") for model in _MODEL),
    *(Route("GET", f"{model}/stats", "ModelStatistics") for model in _MODEL),
    Route("POST", "/v2/repository/index", "RepositoryIndex"),
    Route("POST", "/v2/repository/models/{model}/load", "RepositoryModelLoad"),
    Route("POST", "/v2/repository/models/{model}/unload", "RepositoryModelUnload"),
    Route("POST", f"{OPENAI}chat/completions", "ModelStreamInfer", CHAT),
    Route("GET", f"{OPENAI}models", "ModelMetadata", "OpenAiModels"),
    Route("GET", f"{OPENAI}models/{{model}}", "ModelMetadata", "OpenAiModel"),
)


def find(verb: str, target: str) -> tuple[Route, Mapping[str, str]] | None:
    """The route of a request, and the names in its path; None where there is none. HEAD (RFC 9110,
    section 9.3.2) has the route of GET.
    """
    verb = "GET" if verb == "HEAD" else verb
    for route in ROUTES:
        if route.verb == verb and (names := route.match(target)) is not None:
            return route, names
    return None


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A call, the names in its path, its body, and how long the JSON in it is, if that was said.

    A method that answers in parts sends them to `out`, after a `check` of the call before each;
    `refused` gives the error that the caller gets.
    """

    call: Call
    names: Mapping[str, str]
    body: Body
    header_length: str | None
    out: HttpStream
    check: Callable[[], None]
    refused: Callable[[Exception], tuple[SealgateError, bytes | None]]

    @property
    def model(self) -> str:
        return self.names["model"]

    @property
    def version(self) -> str:
        return self.names.get("version", "")


def _live(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    return said({"live": service.ServerLive(oip.ServerLiveRequest(), asked.call).live})


def _ready(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    ready = service.ServerReady(oip.ServerReadyRequest(), asked.call).ready
    return said({"ready": ready}, 200 if ready else _UNREADY)


def _model_ready(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    request = oip.ModelReadyRequest(name=asked.model, version=asked.version)
    ready = service.ModelReady(request, asked.call).ready
    return said({"name": asked.model, "ready": ready}, 200 if ready else _UNREADY)


def _metadata(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    found = service.ServerMetadata(oip.ServerMetadataRequest(), asked.call)
    found.extensions.append(_BINARY)
    return said(plain(found))


def _model_metadata(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    request = oip.ModelMetadataRequest(name=asked.model, version=asked.version)
    return said(plain(service.ModelMetadata(request, asked.call)))


def _config(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    request = oip.ModelConfigRequest(name=asked.model, version=asked.version)
    return said(plain(service.ModelConfig(request, asked.call).config))


def _statistics(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    request = oip.ModelStatisticsRequest(name=asked.model, version=asked.version)
    return said(plain(service.ModelStatistics(request, asked.call)))


def _index(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    with room_for(len(asked.body)):
        document = parse(asked.body) if asked.body else {}
        ready = members(document, frozenset(), frozenset({"ready"})).get("ready", False)
    if type(ready) is not bool:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "ready")
    request = oip.RepositoryIndexRequest(ready=ready)
    return said(plain(service.RepositoryIndex(request, asked.call))["models"])


def _load(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    request = oip.RepositoryModelLoadRequest(model_name=asked.model)
    return said(plain(service.RepositoryModelLoad(request, asked.call)))


def _unload(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    request = oip.RepositoryModelUnloadRequest(model_name=asked.model)
    return said(plain(service.RepositoryModelUnload(request, asked.call)))


def _infer(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    request, options = read_request(asked.model, asked.version, asked.body, asked.header_length)
    return write_response(service.ModelInfer(request, asked.call), options)


def _chat(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    chat = read_chat(asked.body)
    answers = service.generate(chat.request, asked.call, chat.streams)
    # Closed at once where it is not read to its end: its end is recorded.
    with closing(cast("Generator[oip.ModelInferResponse]", answers)) as parts:
        # An error before the first part is an answer of its own.
        first = next(parts)
        if not chat.streams:
            return said(chat.completion(first))
        _send(asked.out, _events(chat, first, parts, asked))
    return HttpAnswer(200, b"", EVENTS, is_sent=True)


def _send(out: HttpStream, events: Iterator[bytes]) -> None:
    try:
        out.begin(EVENTS)
        for each in events:
            out.send(each)
        out.end()
    except OSError:
        # Nobody is there to be told anything.
        return


def _events(
    chat: Chat, first: oip.ModelInferResponse, parts: Generator[Any], asked: RestRequest
) -> Iterator[bytes]:
    try:
        for number, part in enumerate(chain((first,), parts)):
            asked.check()
            for chunk in chat.chunks(part, first=number == 0):
                yield event(chunk)
        yield DONE
    except Exception as error:
        # Sent parts cannot be taken back, nor can the status.
        parts.close()
        yield event(openai_error(*asked.refused(error)))


def _models(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    found = [_openai_model(name) for name in service.generators(asked.call)]
    return said({"object": "list", "data": found})


def _model(service: InferenceService, asked: RestRequest) -> HttpAnswer:
    # Whether they may know of it, and why it does not answer.
    service.ModelMetadata(oip.ModelMetadataRequest(name=asked.model), asked.call)
    if asked.model not in service.generators(asked.call):
        raise SealgateError(Reason.METHOD_UNSUITED, "no language model")
    return said(_openai_model(asked.model))


def _openai_model(name: str) -> dict[str, Any]:
    # When it was made is the registry's to know; a client needs a number here.
    return {"id": name, "object": "model", "created": 0, "owned_by": "sealgate"}


OPERATIONS: Mapping[str, Callable[[InferenceService, RestRequest], HttpAnswer]] = {
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
    CHAT: _chat,
    "OpenAiModels": _models,
    "OpenAiModel": _model,
}
"""By the name of the gRPC method, or the operation's own."""
READS_BODY = frozenset({"ModelInfer", "RepositoryIndex", CHAT})
"""Of which of them the body is looked at."""
