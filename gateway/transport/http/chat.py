"""Chat completions in OpenAI's form: reads requests into the protocol's message, writes answers.

Accepted members are listed here and all others are refused, so that nobody relies on an option
without an effect. One object, `sealgate`, holds our own: `receipt`, `alias`, `version`, `subject`,
`timeout` and `nonce` in the request; the version, the receipts and the seed of tokens that are
drawn in the answer.
"""

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway.calls.messages import Body
from gateway.pipeline import OPENING, RECEIPT, SEED
from gateway.transport.http.bodies import any_members, items, members, parse, room_for, text
from inference.llm.messages import FINAL, FINISH, MESSAGES, TEXT_OUTPUT
from inference.llm.request import is_text
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, read_outputs, write_inputs
from sealgate.trust import canonical

_INT64 = range(-(1 << 63), 1 << 63)
# By OpenAI's name: the parameter of ours, and the types that its value may have.
_PARAMETERS: dict[str, tuple[str, tuple[type, ...]]] = {
    "max_tokens": ("max_tokens", (int,)),
    "max_completion_tokens": ("max_tokens", (int,)),
    "temperature": ("temperature", (int, float)),
    "top_p": ("top_p", (int, float)),
    "seed": ("seed", (int,)),
}
_OWN: dict[str, type] = {
    "receipt": bool,
    "alias": str,
    "subject": str,
    "timeout": int,
    "nonce": str,
}
_KINDS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
_CALL = frozenset({"tool_call_id"})
_MESSAGE, _TEXT_PART = frozenset({"role", "content"}), frozenset({"type", "text"})
# Values that ask for nothing, which some programs write out.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logit_bias": ({},),
    "logprobs": (False,),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "tools": ([],),
}
_KNOWN = {"model", "messages", "stop", "n", "stream", "stream_options", "sealgate", *_PARAMETERS}


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat that is asked for, and how its answer is to come. `created` is in seconds of the
    epoch.
    """

    request: oip.ModelInferRequest
    streams: bool
    usage: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def completion(self, response: oip.ModelInferResponse) -> dict[str, Any]:
        """The whole answer."""
        message = {"role": "assistant", "content": _text(response), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _end(response)}
        return {**self._head("chat.completion", response, choice), "usage": _usage(response)}

    def chunks(self, response: oip.ModelInferResponse, *, first: bool) -> Iterator[dict[str, Any]]:
        """The chunks that are streamed for a part of the answer."""
        delta: dict[str, Any] = {"content": _text(response)}
        if first:
            delta = {"role": "assistant", **delta}
        end = _end(response)
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}
        head = self._head("chat.completion.chunk", response, choice)
        yield {**head, "usage": None} if self.usage else head
        if end and self.usage:
            yield {**head, "choices": [], "usage": _usage(response)}

    def _head(
        self, kind: str, response: oip.ModelInferResponse, choice: dict[str, Any]
    ) -> dict[str, Any]:
        own: dict[str, Any] = {
            name: response.parameters[name].string_param
            for name in (OPENING, RECEIPT)
            if name in response.parameters
        }
        if SEED in response.parameters:
            own[SEED] = response.parameters[SEED].int64_param
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": response.model_name,
            "system_fingerprint": f"{response.model_name}/{response.model_version}",
            "choices": [choice],
            "sealgate": {"version": response.model_version, **own},
        }


def read_chat(body: Body) -> Chat:
    """Raises: MESSAGE_MALFORMED; PARAMETER_MALFORMED and CHAT_MALFORMED, whose fact `param` says
    where.
    """
    with room_for(len(body)):
        asked = _said(parse(body))
    for name in asked.keys() - _KNOWN:
        if not _asks_nothing(name, asked[name]):
            raise _wrong(name)
    for name in ("model", "messages"):
        if name not in asked:
            raise _wrong(name)
    request = oip.ModelInferRequest(model_name=_of(str, asked, "model"))
    _write_messages(request, asked["messages"])
    _write_sampling(request, asked)
    _write_own(request, asked.get("sealgate", {}))
    if _of(int, asked, "n", 1) != 1:
        raise _wrong("n")
    streams = _of(bool, asked, "stream", default=False)
    options = _of(dict, asked, "stream_options", {})
    if options and (not streams or options.keys() != {"include_usage"}):
        raise _wrong("stream_options")
    usage = _of(bool, options, "include_usage", default=False)
    return Chat(request, streams, usage)


def event(document: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def _said(value: Any) -> dict[str, Any]:
    """An object without what is null: OpenAI's clients may send that for what they do not say, as
    with an answer of ours, `refusal` and all, that they make a message of the next chat.

    Raises: MESSAGE_MALFORMED.
    """
    return {name: each for name, each in any_members(value).items() if each is not None}


def _write_messages(request: oip.ModelInferRequest, messages: Any) -> None:
    """In the canonical form, which a receipt's holder can make again. The model's template decides
    which roles there may be, and in what order.
    """
    try:
        plain = [_message(members(_said(message), _MESSAGE, _CALL)) for message in items(messages)]
    except SealgateError as refusal:
        raise _wrong("messages", Reason.CHAT_MALFORMED) from refusal
    write_inputs(request, [Tensor.of_text(MESSAGES, canonical.encode(plain))])


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """With a content that is one text, where it is a list of them, and without the call that a
    tool's message answers: calls are not relayed. Raises: MESSAGE_MALFORMED.
    """
    text(message.get("tool_call_id", ""))
    content = message["content"]
    if type(content) is list:
        content = "".join(map(_text_part, content))
    return {"role": text(message["role"]), "content": text(content)}


def _text_part(part: Any) -> str:
    found = members(part, _TEXT_PART)
    if found["type"] != "text":
        raise SealgateError(Reason.MESSAGE_MALFORMED, "a part that is no text")
    return text(found["text"])


def _write_sampling(request: oip.ModelInferRequest, asked: dict[str, Any]) -> None:
    for name, (own, kinds) in _PARAMETERS.items():
        if name not in asked:
            continue
        value = asked[name]
        if type(value) not in kinds or own in request.parameters:
            raise _wrong(name)
        _set(request, own, value)
    stop = asked.get("stop", [])
    stops = [stop] if type(stop) is str else stop
    if type(stops) is not list or any(type(each) is not str for each in stops):
        raise _wrong("stop")
    if stops:
        _set(request, "stop", json.dumps(stops))


def _write_own(request: oip.ModelInferRequest, own: Any) -> None:
    if type(own) is not dict:
        raise _wrong("sealgate")
    for name, value in own.items():
        if name == "version" and type(value) is str and is_text(value):
            request.model_version = value
        elif name in _OWN and type(value) is _OWN[name]:
            _set(request, name, value)
        else:
            raise _wrong(f"sealgate.{name}")


def _set(request: oip.ModelInferRequest, name: str, value: Any) -> None:
    """Raises: PARAMETER_MALFORMED for what no parameter can say."""
    is_large = type(value) is int and value not in _INT64
    if is_large or (isinstance(value, str) and not is_text(value)):
        raise _wrong(name)
    setattr(request.parameters[name], _KINDS[type(value)], value)


def _of(kind: type, asked: dict[str, Any], name: str, default: Any = None) -> Any:
    value = asked.get(name, default)
    if type(value) is not kind or (isinstance(value, str) and not is_text(value)):
        raise _wrong(name)
    return value


def _asks_nothing(name: str, value: Any) -> bool:
    return any(type(value) is type(each) and value == each for each in NEUTRAL.get(name, ()))


def _wrong(name: str, reason: Reason = Reason.PARAMETER_MALFORMED) -> SealgateError:
    """The name is the caller's own word, which goes back bounded and in ASCII."""
    shown = name[:64].encode("ascii", "replace").decode()
    return SealgateError(reason, shown, facts={"param": shown})


def _text(response: oip.ModelInferResponse) -> str:
    try:
        said: bytes = read_outputs(response)[TEXT_OUTPUT].data.item()
        return said.decode()
    except (SealgateError, KeyError, ValueError) as error:
        raise SealgateError(Reason.ANSWER_MALFORMED, "an answer that is no text") from error


def _end(response: oip.ModelInferResponse) -> str | None:
    is_last = response.parameters[FINAL].bool_param
    return response.parameters[FINISH].string_param if is_last else None


def _usage(response: oip.ModelInferResponse) -> dict[str, int]:
    prompt, output = (
        response.parameters[name].int64_param for name in ("prompt_tokens", "completion_tokens")
    )
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }
