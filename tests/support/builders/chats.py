"""Requests to a language model by OpenAI's protocol, and readers of its answers."""

import json
import re
from http.client import HTTPResponse
from typing import Any

from sealgate.reasons import Reason
from tests.support.builders.generated import PROMPT
from tests.support.harness.clients.http_client import HttpAnswer, HttpClient

MESSAGES = [{"role": "user", "content": PROMPT}]


def post(client: HttpClient, **changes: Any) -> HttpAnswer:
    document = {"model": "tiny", "messages": MESSAGES, **changes}
    return client.post("/v1/chat/completions", document)


def code(seen: HttpAnswer) -> Reason:
    """Of a refusal in OpenAI's form."""
    error = seen.json["error"]
    reason = Reason[error["code"]]
    assert error["message"] == reason.sentence
    return reason


def text_of(completion: dict[str, Any]) -> str:
    return str(completion["choices"][0]["message"]["content"])


def begun(client: HttpClient, **changes: Any) -> HTTPResponse:
    """A stream whose head has come."""
    document = {"model": "tiny", "messages": MESSAGES, "stream": True, **changes}
    client.connection.request(
        "POST", "/v1/chat/completions", json.dumps(document), dict(client.headers)
    )
    return client.connection.getresponse()


def events(response: HTTPResponse) -> list[Any]:
    """The rest of a stream, `[DONE]` included."""
    found = re.findall(r"data: (.*)\n\n", response.read().decode())
    return [each if each == "[DONE]" else json.loads(each) for each in found]
