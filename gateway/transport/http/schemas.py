"""The JSON schemas of what the HTTP gateway takes and answers, for its OpenAPI document."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from gateway.transport.http.chat import NEUTRAL
from inference.llm.request import MOST_MESSAGES, ROLES
from sealgate.tensors import DATATYPES

Schema: TypeAlias = dict[str, Any]


def members(needed: Sequence[str] = (), /, **properties: Schema) -> Schema:
    """An object that has the needed properties, and none but those named."""
    return {**at_least(needed, **properties), "additionalProperties": False}


def at_least(needed: Sequence[str], /, **properties: Schema) -> Schema:
    """An object that has the needed properties, and maybe others."""
    return {"type": "object", "required": list(needed), "properties": properties}


def each(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def named(name: str) -> Schema:
    """A reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}

_SIZE: Schema = {"type": "integer", "minimum": 0}
_SCALAR: Schema = {"type": ["boolean", "number", "string"]}
_TEXTS: Schema = {"type": "object", "additionalProperties": STRING}
_PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": _SCALAR,
    "description": "As by gRPC: receipt, alias, subject, session, priority, timeout (microseconds),"
    " allowance, nonce. And binary_data_output: whether outputs are to come raw.",
}
_TENSOR = {"name": STRING, "datatype": STRING, "shape": each(NUMBER)}
_NAMED_TENSOR = ("name", "datatype", "shape")

_POSITIVE: Schema = {"type": ["integer", "null"], "minimum": 1}
_OWN = members(
    receipt=FLAG,
    alias=STRING,
    version=STRING,
    subject=STRING,
    timeout={**NUMBER, "description": "In microseconds."},
    nonce={"type": "string", "pattern": "^[A-Za-z0-9_-]{22,64}$"},
)
_CHAT: dict[str, Schema] = {
    "ChatRequest": members(
        ("model", "messages"),
        model=STRING,
        messages={**each(named("ChatMessage")), "minItems": 1, "maxItems": MOST_MESSAGES},
        max_tokens=_POSITIVE,
        max_completion_tokens=_POSITIVE,
        temperature={"type": ["number", "null"], "minimum": 0, "maximum": 10},
        top_p={"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1},
        stop={"anyOf": [STRING, {"type": "null"}, {**each(STRING), "maxItems": 8}]},
        seed={"type": ["integer", "null"], "minimum": 0},
        n={"enum": [1, None]},
        **{name: {"enum": [values[0], None]} for name, values in NEUTRAL.items()},
        stream={"type": ["boolean", "null"]},
        stream_options={"anyOf": [{"type": "null"}, members(include_usage=FLAG)]},
        sealgate=_OWN,
    ),
    "ChatMessage": members(
        ("role", "content"),
        role={"enum": list(ROLES)},
        content={"anyOf": [STRING, each(members(("type", "text"), type=STRING, text=STRING))]},
        refusal={"type": "null"},
        tool_call_id=STRING,
    ),
    "ChatCompletion": members(
        ("id", "object", "created", "model", "system_fingerprint", "choices", "usage", "sealgate"),
        id=STRING,
        object={"const": "chat.completion"},
        created=NUMBER,
        model=STRING,
        system_fingerprint=STRING,
        choices=each(OBJECT),
        usage=OBJECT,
        sealgate=members(("version",), version=STRING, receipt=STRING, seed=NUMBER),
    ),
    "OpenAiModel": members(
        ("id", "object", "created", "owned_by"),
        id=STRING,
        object={"const": "model"},
        created=NUMBER,
        owned_by=STRING,
    ),
    "OpenAiError": members(
        ("error",),
        error=members(
            ("message", "type", "param", "code"),
            message=STRING,
            type=STRING,
            param={"type": ["string", "null"]},
            code={**STRING, "pattern": "^[A-Z_]+$", "description": "A name of a fixed list."},
            receipt=STRING,
        ),
    ),
}

SCHEMAS: dict[str, Schema] = {
    **_CHAT,
    "Error": members(
        ("error", "reason"),
        error={**STRING, "description": "The reason's sentence."},
        reason={**STRING, "pattern": "^[A-Z_]+$", "description": "A name of a fixed list."},
        metadata={**_TEXTS, "description": "What a caller needs to go on."},
        receipt={**STRING, "description": "The proof that it was recorded, if one was asked for."},
    ),
    "ServerMetadata": members(
        ("name", "version", "extensions"), name=STRING, version=STRING, extensions=each(STRING)
    ),
    "ModelMetadata": members(
        ("name", "versions", "platform", "inputs", "outputs", "properties"),
        name=STRING,
        versions=each(STRING),
        platform=STRING,
        inputs=each(members(_NAMED_TENSOR, **_TENSOR)),
        outputs=each(members(_NAMED_TENSOR, **_TENSOR)),
        properties=_TEXTS,
    ),
    "ModelConfig": at_least(
        ("name", "platform", "backend", "max_batch_size", "input", "output"),
        name=STRING,
        platform=STRING,
        backend=STRING,
        max_batch_size=NUMBER,
        input=each(OBJECT),
        output=each(OBJECT),
    ),
    "ModelStatistics": at_least(
        ("name", "version", "inference_count", "execution_count"),
        name=STRING,
        version=STRING,
        inference_count=NUMBER,
        execution_count=NUMBER,
    ),
    "ModelIndex": members(
        ("name", "version", "state", "reason"),
        name=STRING,
        version=STRING,
        state={"enum": ["READY", "UNAVAILABLE"]},
        reason=STRING,
    ),
    "InferRequest": members(
        ("inputs",),
        id={**STRING, "maxLength": 128},
        parameters=_PARAMETERS,
        inputs=each(named("InputTensor")),
        outputs=each(members(("name",), name=STRING, parameters=members(binary_data=FLAG))),
    ),
    "InputTensor": members(
        _NAMED_TENSOR,
        name=STRING,
        datatype={"enum": sorted(DATATYPES)},
        shape={**each(_SIZE), "maxItems": 32},
        data={"type": "array", "description": "Flat, or nested as the shape says; or else raw."},
        parameters=members(binary_data_size=_SIZE),
    ),
    "InferResponse": members(
        ("model_name", "model_version", "outputs"),
        model_name=STRING,
        model_version=STRING,
        id=STRING,
        parameters={"type": "object", "additionalProperties": _SCALAR},
        outputs=each(
            members(
                _NAMED_TENSOR,
                **_TENSOR,
                data={"type": "array", "description": "Flat; or else the output comes raw."},
                parameters=members(binary_data_size=NUMBER),
            )
        ),
    ),
}
