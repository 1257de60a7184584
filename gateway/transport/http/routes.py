"""The paths of the protocol's REST form and of OpenAI's, and which gRPC method each of them is.

The same rules hold for both, and so the answer log has one name for a method, however it came.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

OPENAPI = "/v2/openapi.json"
"""Where the description of all this is, for anyone."""

OPENAI = "/v1/"
"""How the paths begin whose requests and answers have OpenAI's form."""
CHAT = "OpenAiChat"

_SERVICE = "/inference.GRPCInferenceService/"
_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")


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
    """The route of a request, and the names in its path; None where there is none. Who asks for the
    head alone (RFC 9110, section 9.3.2) asks for what GET would give.
    """
    verb = "GET" if verb == "HEAD" else verb
    for route in ROUTES:
        if route.verb == verb and (names := route.match(target)) is not None:
            return route, names
    return None
