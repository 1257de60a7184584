"""Converts generation requests and answers to and from Open Inference Protocol messages.

Between gateway and generator, one stream carries one request. The first response holds `prompt_ids`
and the parameter `score` from screening, unless the model does not screen prompts; `place` says
where it is computed, unless that is the CPU. One response per token follows, and the last one
carries `triton_final_response` and the `finish_reason`.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference.llm.request import LONGEST_STOP, MOST_STOPS, Sampling, SamplingRequest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, read_inputs, read_outputs, write_inputs, write_outputs

TEXT_INPUT, MESSAGES = "text_input", "messages"
TEXT_OUTPUT, TOKEN_IDS, PROMPT_IDS = "text_output", "token_ids", "prompt_ids"
OUTPUTS = (TEXT_OUTPUT, TOKEN_IDS)
FINAL, FINISH, SCORE, STREAM = "triton_final_response", "finish_reason", "score", "stream"
PLACE = "place"
_LONGEST_PLACE = 100
# tritonclient adds it where an empty last response is welcome; here there is always a last one.
_EMPTY_FINAL = "triton_enable_empty_final_response"
DEFAULT_TOKENS = 16
STOP = "stop"
ENDS = (STOP, "length")
"""Why an answer ends."""
# JSON in ASCII has up to twelve letters for one.
_LONGEST_STOPS = 2 + MOST_STOPS * (12 * LONGEST_STOP + 4)
_DECIMAL = re.compile(r"[0-9]{1,4}(\.[0-9]{1,17})?")
_WHOLE = ("int64_param", "uint64_param")
_NUMBER = ("double_param", *_WHOLE, "string_param")
_KINDS = {
    "max_tokens": _WHOLE,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "stop": ("string_param",),
    "seed": _WHOLE,
    STREAM: ("bool_param",),
    _EMPTY_FINAL: ("bool_param",),
}


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """A part of an answer: new `ids` and the text that they complete.

    `finish`, in the last part, says why the answer ends: `stop` or `length`. `usage`, if ids are
    not revealed, is how many tokens prompt and answer had.
    """

    ids: tuple[int, ...]
    text: bytes
    finish: str = ""
    usage: tuple[int, int] | None = None


def read_sampling_request(
    request: oip.ModelInferRequest, seed: Callable[[], int], tokens: int = DEFAULT_TOKENS
) -> SamplingRequest:
    """Read a request's sampling parameters and its input.

    If tokens are sampled and the request names no seed, `seed` gives one. `tokens` is the default
    of `max_tokens`.

    Raises SealgateError: PARAMETER_MALFORMED for a parameter of ours of another type or value,
    TENSOR_NAME unless there is one input, and as `read_inputs`. The input's bytes are not checked.
    """
    found = {name: _value(name, request) for name in _KINDS if name in request.parameters}
    temperature, top_p = (_decimal(name, found.get(name)) for name in ("temperature", "top_p"))
    heat = 0.0 if temperature is None else temperature
    number = found.get("seed")
    sampling = Sampling(
        max_tokens=int(found.get("max_tokens", tokens)),
        temperature=heat,
        top_p=1.0 if top_p is None else top_p,
        stop=_stops(found.get("stop", "[]")),
        seed=int(number) if number is not None else (seed() if heat else 0),
    )
    tensors = read_inputs(request)
    if len(tensors) != 1 or not tensors.keys() <= {TEXT_INPUT, MESSAGES}:
        raise SealgateError(Reason.TENSOR_NAME, f"one of {TEXT_INPUT} and {MESSAGES}")
    ((name, tensor),) = tensors.items()
    return SamplingRequest(_one(tensor), name == MESSAGES, sampling)


def wants_parts(request: oip.ModelInferRequest) -> bool:
    """Whether a request on a stream is answered part by part, as it is by default."""
    return STREAM not in request.parameters or request.parameters[STREAM].bool_param


def without_sampling(request: oip.ModelInferRequest) -> oip.ModelInferRequest:
    """The request's model, other parameters and requested outputs, without tensors."""
    rest = oip.ModelInferRequest(
        model_name=request.model_name, model_version=request.model_version, id=request.id
    )
    for name, value in request.parameters.items():
        if name not in _KINDS:
            rest.parameters[name].CopyFrom(value)
    rest.outputs.extend(request.outputs)
    return rest


def write_sampling_request(request: oip.ModelInferRequest, asked: SamplingRequest) -> None:
    """Writes a request that `read_sampling_request` reads, for a generator."""
    sampling = asked.sampling
    request.parameters["max_tokens"].int64_param = sampling.max_tokens
    request.parameters["temperature"].double_param = sampling.temperature
    request.parameters["top_p"].double_param = sampling.top_p
    request.parameters["stop"].string_param = json.dumps(sampling.stop)
    request.parameters["seed"].int64_param = sampling.seed
    name = MESSAGES if asked.is_chat else TEXT_INPUT
    write_inputs(request, [Tensor.of_text(name, asked.prompt)])


def write_prologue(
    response: oip.ModelInferResponse, ids: Sequence[int], score: float | None, place: str = ""
) -> None:
    """The prompt's tokens, its screening score and, unless it is the CPU, the place in words where
    the answer is computed.
    """
    if place:
        response.parameters[PLACE].string_param = place
    if score is not None:
        response.parameters[SCORE].double_param = score
    write_outputs(response, [_numbers(PROMPT_IDS, ids)])


def read_prologue(response: oip.ModelInferResponse) -> tuple[tuple[int, ...], float | None]:
    """Reads the message of `write_prologue`. Raises SealgateError(ANSWER_MALFORMED)."""
    score = None
    if SCORE in response.parameters:
        if not response.parameters[SCORE].HasField("double_param"):
            raise SealgateError(Reason.ANSWER_MALFORMED, "a score is not a number")
        score = response.parameters[SCORE].double_param
    tensors = _outputs(response, PROMPT_IDS)
    ids = _ids(tensors[PROMPT_IDS])
    if not ids:
        raise SealgateError(Reason.ANSWER_MALFORMED, "a prompt has no tokens")
    return ids, score


def read_place(response: oip.ModelInferResponse) -> str:
    """Where the answer of a prologue is computed, in words; empty for the CPU.

    Raises: ANSWER_MALFORMED for what could not be shown: entries say it.
    """
    if PLACE not in response.parameters:
        return ""
    place: str = response.parameters[PLACE].string_param
    if not place or not place.isprintable() or len(place) > _LONGEST_PLACE:
        raise SealgateError(Reason.ANSWER_MALFORMED, "a place is no text that can be shown")
    return place


def write_part(
    response: oip.ModelInferResponse, piece: AnswerPart, wanted: Sequence[str] = OUTPUTS
) -> None:
    """A part in the protocol's form, with the requested outputs."""
    response.parameters[FINAL].bool_param = bool(piece.finish)
    if piece.finish:
        response.parameters[FINISH].string_param = piece.finish
    outputs = (Tensor.of_text(TEXT_OUTPUT, piece.text), _numbers(TOKEN_IDS, piece.ids))
    write_outputs(response, [each for each in outputs if each.name in wanted])


def read_part(response: oip.ModelInferResponse) -> AnswerPart:
    """Reads the message of `write_part`. Raises SealgateError(ANSWER_MALFORMED)."""
    tensors = _outputs(response, TEXT_OUTPUT, TOKEN_IDS)
    finish = response.parameters[FINISH].string_param if FINISH in response.parameters else ""
    if finish not in ("", *ENDS):
        raise SealgateError(Reason.ANSWER_MALFORMED, "a part ends for an unknown reason")
    if FINAL not in response.parameters or response.parameters[FINAL].bool_param != bool(finish):
        raise SealgateError(Reason.ANSWER_MALFORMED, "a part does not say whether it is the last")
    return AnswerPart(_ids(tensors[TOKEN_IDS]), _one(tensors[TEXT_OUTPUT]), finish)


def _outputs(response: oip.ModelInferResponse, *names: str) -> dict[str, Tensor]:
    try:
        tensors = read_outputs(response)
    except SealgateError as refusal:
        raise SealgateError(Reason.ANSWER_MALFORMED, str(refusal)) from refusal
    if tensors.keys() != set(names):
        raise SealgateError(Reason.ANSWER_MALFORMED, f"the generator's outputs are not {names}")
    return tensors


def _value(name: str, request: oip.ModelInferRequest) -> Any:
    value = request.parameters[name]
    kind = value.WhichOneof("parameter_choice")
    if kind not in _KINDS[name]:
        raise SealgateError(Reason.PARAMETER_MALFORMED, name)
    return getattr(value, kind)


def _decimal(name: str, value: Any) -> float | None:
    """Some clients have no floating point parameters, and send text."""
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise SealgateError(Reason.PARAMETER_MALFORMED, name)
    return None if value is None else float(value)


def _stops(text: str) -> tuple[str, ...]:
    """One text, or a JSON list of them where it begins as one."""
    if not text.startswith("["):
        return (text,)
    try:
        found = json.loads(text) if len(text) <= _LONGEST_STOPS else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "stop", facts={"param": "stop"})
    return tuple(found)


def _one(tensor: Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        raise SealgateError(Reason.TENSOR_DATATYPE, tensor.name)
    if tensor.data.size != 1 or len(tensor.shape) > 2:
        raise SealgateError(Reason.TENSOR_SHAPE, tensor.name)
    text: bytes = tensor.data.item()
    return text


def _ids(tensor: Tensor) -> tuple[int, ...]:
    if tensor.datatype != "INT64" or len(tensor.shape) != 1:
        raise SealgateError(Reason.ANSWER_MALFORMED, f"{tensor.name} are not INT64 of one axis")
    if (tensor.data < 0).any():
        raise SealgateError(Reason.ANSWER_MALFORMED, f"{tensor.name} are no ids")
    return tuple(tensor.data.tolist())


def _numbers(name: str, ids: Sequence[int]) -> Tensor:
    return Tensor.of(name, np.array(ids, np.int64))
