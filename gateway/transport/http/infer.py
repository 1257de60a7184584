"""ModelInfer as JSON, with raw tensors behind it where a caller asks for them.

The protocol's binary data extension defines the raw tensors. Requests are read into the protocol's
message, and its answers are written.

The message's content is checked where gRPC's requests are; here only its form is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.calls.messages import Body
from gateway.transport.http.bodies import (
    BINARY,
    JSON,
    HttpAnswer,
    any_members,
    items,
    json_contents,
    members,
    parse,
    raw_contents,
    room_for,
    text,
)
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import read_outputs

HEADER_LENGTH = "inference-header-content-length"

_INT64, _UINT64 = range(-(1 << 63), 1 << 63), range(1 << 64)
_NAMED = frozenset({"name"})
_REQUEST = frozenset({"id", "parameters", "outputs"})
_TENSOR = frozenset({"name", "datatype", "shape"})
_CONTENTS = frozenset({"data", "parameters"})
_PARAMETERS = frozenset({"parameters"})


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Which outputs are to come raw: those named, and whether all others are."""

    raw: bool = False
    by_name: Mapping[str, bool] = field(default_factory=dict)

    def is_raw(self, name: str) -> bool:
        return self.by_name.get(name, self.raw)


class _Tail:
    """The raw tensors behind the JSON, taken in order."""

    def __init__(self, body: memoryview) -> None:
        self._left = body

    def take(self, size: Any) -> bytes:
        """Raises: PARAMETER_MALFORMED, RAW_CONTENTS_MISMATCH."""
        if type(size) is not int or size < 0:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "binary_data_size")
        if size > len(self._left):
            raise SealgateError(Reason.RAW_CONTENTS_MISMATCH, "less than was announced")
        taken, self._left = self._left[:size], self._left[size:]
        return bytes(taken)

    def end(self) -> None:
        """Raises: RAW_CONTENTS_MISMATCH."""
        if self._left:
            raise SealgateError(Reason.RAW_CONTENTS_MISMATCH, "more than was announced")


def read_request(
    model: str, version: str, body: Body, header_length: str | None
) -> tuple[oip.ModelInferRequest, OutputOptions]:
    """The message for a body whose JSON is `header_length` bytes long, or all of it.

    Raises: MESSAGE_MALFORMED, PARAMETER_MALFORMED, RAW_CONTENTS_MISMATCH, TENSOR_DATATYPE,
    TENSOR_SHAPE, TENSOR_BYTES, TENSOR_RANGE.
    """
    length = _length(header_length, len(body))
    whole = memoryview(body)
    with room_for(length):
        return _message(model, version, parse(whole[:length]), _Tail(whole[length:]))


def write_response(response: oip.ModelInferResponse, options: OutputOptions) -> HttpAnswer:
    """The answer as JSON, with the outputs behind it that are to come raw.

    Raises: ANSWER_MALFORMED for what JSON cannot say: NaN, infinity, bytes that are no text.
    """
    document: dict[str, Any] = {
        "model_name": response.model_name,
        "model_version": response.model_version,
    }
    if response.id:
        document["id"] = response.id
    if response.parameters:
        document["parameters"] = {
            name: getattr(value, str(value.WhichOneof("parameter_choice")))
            for name, value in response.parameters.items()
        }
    tensors = {} if all(options.is_raw(each.name) for each in response.outputs) else _read(response)
    outputs, tail = [], []
    for place, output in enumerate(response.outputs):
        said: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.shape),
        }
        if options.is_raw(output.name):
            raw = response.raw_output_contents[place]
            said["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        else:
            said["data"] = json_contents(tensors[output.name])
        outputs.append(said)
    head = json.dumps({**document, "outputs": outputs}, separators=(",", ":")).encode()
    if not tail:
        return HttpAnswer(200, head, JSON)
    length = ((HEADER_LENGTH, str(len(head))),)
    return HttpAnswer(200, b"".join((head, *tail)), BINARY, length)


def _message(
    model: str, version: str, document: Any, tail: _Tail
) -> tuple[oip.ModelInferRequest, OutputOptions]:
    document = members(document, frozenset({"inputs"}), _REQUEST)
    request = oip.ModelInferRequest(
        model_name=model, model_version=version, id=text(document.get("id", ""))
    )
    parameters = dict(any_members(document.get("parameters", {})))
    raw = _flag(parameters.pop("binary_data_output", False))
    for name, value in parameters.items():
        _set(request.parameters[text(name)], value)
    for each in items(document["inputs"]):
        _add_input(request, members(each, _TENSOR, _CONTENTS), tail)
    tail.end()
    by_name: dict[str, bool] = {}
    for each in items(document.get("outputs", [])):
        output = members(each, _NAMED, _PARAMETERS)
        name = text(output["name"])
        request.outputs.add(name=name)
        wish = members(output.get("parameters", {}), frozenset(), frozenset({"binary_data"}))
        by_name[name] = _flag(wish.get("binary_data", raw))
    return request, OutputOptions(raw, by_name)


def _length(stated: str | None, size: int) -> int:
    if stated is None:
        return size
    # Few digits, or a number of them would take its time.
    if not (stated.isascii() and stated.isdecimal() and len(stated) < 20 and int(stated) <= size):
        raise SealgateError(Reason.MESSAGE_MALFORMED, HEADER_LENGTH)
    return int(stated)


def _add_input(request: oip.ModelInferRequest, tensor: dict[str, Any], tail: _Tail) -> None:
    shape = items(tensor["shape"])
    if any(type(size) is not int or size not in _INT64 for size in shape):
        raise SealgateError(Reason.TENSOR_SHAPE, "not an array of integers")
    size = members(tensor.get("parameters", {}), frozenset(), frozenset({"binary_data_size"})).get(
        "binary_data_size"
    )
    if (size is None) is ("data" not in tensor):
        raise SealgateError(Reason.RAW_CONTENTS_MISMATCH, "either data or raw contents, not both")
    datatype = text(tensor["datatype"])
    raw = raw_contents(items(tensor["data"]), datatype, shape) if size is None else tail.take(size)
    request.inputs.add(name=text(tensor["name"]), datatype=datatype, shape=shape)
    request.raw_input_contents.append(raw)


def _set(parameter: oip.InferParameter, value: Any) -> None:
    """Raises: PARAMETER_MALFORMED for what no parameter can be."""
    if type(value) is bool:
        parameter.bool_param = value
    elif type(value) is int and value in _INT64:
        parameter.int64_param = value
    elif type(value) is int and value in _UINT64:
        parameter.uint64_param = value
    elif type(value) is float:
        parameter.double_param = value
    elif type(value) is str:
        parameter.string_param = text(value)
    else:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "neither boolean, number nor string")


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "binary data is wished for or not")
    return value


def _read(response: oip.ModelInferResponse) -> Mapping[str, Any]:
    try:
        return read_outputs(response)
    except SealgateError as refusal:
        raise SealgateError(Reason.ANSWER_MALFORMED, str(refusal)) from refusal
