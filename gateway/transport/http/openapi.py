"""The OpenAPI document of the HTTP gateway, made of its own table of paths."""

from typing import Any

from gateway.auth import ANYONE, RULES
from gateway.transport.http.bodies import BINARY, EVENTS, JSON
from gateway.transport.http.operations import CHAT, OPENAI, OPENAPI, ROUTES, Route
from gateway.transport.http.schemas import (
    FLAG,
    NUMBER,
    OBJECT,
    SCHEMAS,
    STRING,
    Schema,
    each,
    members,
    named,
)

# The purpose of each method, and its answers where it is not refused, by status.
_MEANING = {
    "ServerLive": "Whether the gateway lives.",
    "ServerReady": "Whether at least one version answers.",
    "ServerMetadata": "The server's name, version and extensions.",
    "ModelMetadata": "A model's tensors and its live versions.",
    "ModelReady": "Whether the model answers.",
    "ModelConfig": "How the model is run.",
    "ModelStatistics": "What live versions have done; a client sees those that it may ask about.",
    "ModelInfer": "Asks the model. A body may come with content-encoding gzip or deflate.",
    "RepositoryIndex": "Every version that a pointer names; a client sees those that answer it.",
    "RepositoryModelLoad": "Refused, since what is loaded follows from promotions.",
    "RepositoryModelUnload": "Refused, since what is loaded follows from promotions.",
    CHAT: "Asks a language model, in OpenAI's form; what is not described is refused.",
    "OpenAiModels": "The language models that the caller may see.",
    "OpenAiModel": "One of them.",
}


def _ready(value: bool) -> Schema:
    return members(("name", "ready"), name=STRING, ready={"const": value})


_ANSWERS: dict[str, dict[int, Schema]] = {
    "ServerLive": {200: members(("live",), live=FLAG)},
    "ServerReady": {
        200: members(("ready",), ready={"const": True}),
        400: members(("ready",), ready={"const": False}),
    },
    "ServerMetadata": {200: named("ServerMetadata")},
    "ModelMetadata": {200: named("ModelMetadata")},
    "ModelReady": {200: _ready(True), 400: {"anyOf": [_ready(False), named("Error")]}},
    "ModelConfig": {200: named("ModelConfig")},
    "ModelStatistics": {200: members(("model_stats",), model_stats=each(named("ModelStatistics")))},
    "ModelInfer": {200: named("InferResponse")},
    "RepositoryIndex": {200: each(named("ModelIndex"))},
    "RepositoryModelLoad": {},
    "RepositoryModelUnload": {},
    CHAT: {200: named("ChatCompletion")},
    "OpenAiModels": {
        200: members(("object", "data"), object={"const": "list"}, data=each(named("OpenAiModel")))
    },
    "OpenAiModel": {200: named("OpenAiModel")},
}
_BODIES = {
    "ModelInfer": {"required": True, "content": {JSON: {"schema": named("InferRequest")}}},
    "RepositoryIndex": {"content": {JSON: {"schema": members(ready=FLAG)}}},
    CHAT: {"required": True, "content": {JSON: {"schema": named("ChatRequest")}}},
}
_OPENAI = "OpenAi"
_REFUSALS = {
    400: "What was sent is wrong, or must wait for another state.",
    401: "Nobody knows who is calling.",
    403: "The caller may not.",
    404: "There is no such thing.",
    429: "For want of room or quota.",
    500: "Something went wrong.",
    503: "Something that is needed is away.",
    504: "Too little time is left.",
}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": STRING}},
    429: {"Retry-After": {"schema": NUMBER, "description": "In how many seconds to try again."}},
}
_HEADER_LENGTH = {
    "schema": {"type": "integer", "minimum": 0},
    "description": "How many bytes the JSON has, where raw tensors come behind it.",
}
_NAMES = {
    "model": {**STRING, "pattern": "^[a-z][a-z0-9-]{0,62}$"},
    "version": {**STRING, "pattern": "^[1-9][0-9]{0,8}$"},
}


def document() -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    paths: dict[str, Any] = {OPENAPI: {"get": _itself()}}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.verb.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sealgate: the Open Inference Protocol over HTTP", "version": "2"},
        "security": [{"bearer": []}, {"certificate": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": {
                f"{form}{status}": _refusal(status, f"{form}Error")
                for form in ("", _OPENAI)
                for status in _REFUSALS
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Token or API key."},
                "certificate": {"type": "mutualTLS"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    is_open = RULES[route.method] == ANYONE
    form = _OPENAI if route.path.startswith(OPENAI) else ""
    responses: dict[str, Any] = {
        str(status): {"$ref": f"#/components/responses/{form}{status}"}
        for status in _REFUSALS
        if not is_open or status >= 500
    }
    for status, schema in _ANSWERS[route.operation].items():
        responses[str(status)] = {
            "description": "The answer.",
            "content": {JSON: {"schema": schema}},
        }
    operation: dict[str, Any] = {
        "summary": _MEANING[route.operation],
        "operationId": route.operation + ("OfVersion" if "{version}" in route.path else ""),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in _NAMES.items()
            if f"{{{name}}}" in route.path
        ],
        "responses": responses,
    }
    if is_open:
        operation["security"] = []
    if route.operation in _BODIES:
        operation["requestBody"] = _BODIES[route.operation]
    if route.operation == "ModelInfer":
        _add_raw(operation)
    if route.operation == CHAT:
        # Each event is a chunk; they have no schema in OpenAPI.
        operation["responses"]["200"]["content"][EVENTS] = {}
    return operation


def _add_raw(operation: dict[str, Any]) -> None:
    """The protocol's binary extension: raw tensors behind the JSON."""
    name = "Inference-Header-Content-Length"
    operation["parameters"].append({"name": name, "in": "header", **_HEADER_LENGTH})
    body = operation["requestBody"]
    operation["requestBody"] = {**body, "content": {**body["content"], BINARY: {}}}
    answer = operation["responses"]["200"]
    answer["headers"] = {name: _HEADER_LENGTH}
    answer["content"][BINARY] = {}


def _refusal(status: int, schema: str) -> dict[str, Any]:
    return {
        "description": _REFUSALS[status],
        "headers": _HEADERS.get(status, {}),
        "content": {JSON: {"schema": named(schema)}},
    }


def _itself() -> dict[str, Any]:
    answer = {"description": "This document.", "content": {JSON: {"schema": OBJECT}}}
    return {
        "summary": "This document.",
        "operationId": "OpenApi",
        "security": [],
        "responses": {"200": answer},
    }
