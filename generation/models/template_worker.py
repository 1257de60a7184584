"""The task of a confined worker that writes chats by a model's own template (jinja).

The request of the task is JSON: the template, what is known beside messages, and the descriptor
from which chats come. They are a length (eight bytes, big-endian) and as much JSON: the messages
of each, and how many bytes a text may have. The worker answers once when it is ready, and then each
chat with one byte, WRITTEN, REFUSED or TOO_LONG, and a text.

Templates are written for the environment that transformers gives them: blocks without blank lines,
`break` and `continue`, `tojson` without HTML's escapes, `raise_exception`, `strftime_now`, and
`{% generation %}` around what a model said, which changes nothing of a text.
"""

import json
import os
import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

WRITTEN, REFUSED, TOO_LONG = b"W", b"R", b"L"
HEAD = struct.Struct(">Q")
_LONGEST_REFUSAL = 200


def run(request: bytes, send: Callable[[bytes], None]) -> None:
    """The worker's side, until no more chats come."""
    asked = json.loads(request)
    descriptor, known = asked["descriptor"], asked["known"]
    write: Callable[[Any], str] | None = None
    send(b"")
    with os.fdopen(descriptor, "rb") as chats:
        while len(head := chats.read(HEAD.size)) == HEAD.size:
            told, longest = json.loads(chats.read(*HEAD.unpack(head)))
            for messages in told:
                try:
                    write = write or _compiled(asked["template"], known)
                    text = write(messages).encode()
                    answer = WRITTEN + text if len(text) <= longest else TOO_LONG
                except MemoryError:
                    raise
                except Exception as error:  # whatever a template does
                    why = f"{type(error).__name__}: {error}"[:_LONGEST_REFUSAL]
                    answer = REFUSED + why.encode("utf-8", "replace")
                send(answer)


def _compiled(template: str, known: dict[str, str]) -> Callable[[Any], str]:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    found = environment.from_string(template)
    told = {**known, "tools": None, "documents": None, "add_generation_prompt": True}
    return lambda messages: found.render(messages=messages, **told)


class _Generation(Extension):
    """`{% generation %}`, which says where a model spoke: its content is written as it is."""

    tags = {"generation"}  # noqa: RUF012 - as jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def _tojson(value: Any, **options: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _raise(message: str) -> None:
    raise TemplateError(message)
