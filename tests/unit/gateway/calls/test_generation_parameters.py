"""A language model returns the outputs asked for and refuses parameters it does not follow."""

from typing import Any

import numpy as np
import pytest

from gateway.calls.call import RecordedRefusal
from inference.llm.messages import AnswerPart
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import Tensor, read_outputs, write_inputs
from tests.support.fakes.generation import Stream, call_on, generate

PIECES = [AnswerPart((5,), b"one"), AnswerPart((6,), b" two", "stop")]


def request(*outputs: str, **parameters: Any) -> oip.ModelInferRequest:
    made = oip.ModelInferRequest(model_name="tiny")
    made.outputs.extend(made.InferRequestedOutputTensor(name=name) for name in outputs)
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param"}
    for name, value in parameters.items():
        setattr(made.parameters[name], kinds[type(value)], value)
    array = np.empty(1, object)
    array[0] = b"Hello"
    write_inputs(made, [Tensor.of("text_input", array)])
    return made


def parts(asked: oip.ModelInferRequest, *pieces: AnswerPart) -> list[oip.ModelInferResponse]:
    return list(generate(pieces or PIECES).parts(asked, call_on(Stream()), streams=True))


def refused(asked: oip.ModelInferRequest) -> RecordedRefusal:
    with pytest.raises(RecordedRefusal) as found:
        parts(asked)
    return found.value


@pytest.mark.parametrize("outputs", [(), ("text_output",), ("token_ids",)])
def test_only_requested_outputs_are_returned(outputs: tuple[str, ...]) -> None:
    expected = set(outputs or ("text_output", "token_ids"))
    assert [set(read_outputs(part)) for part in parts(request(*outputs))] == [expected] * 2


def test_an_unknown_output_is_refused() -> None:
    assert refused(request("text_output", "logits")).reason is Reason.OUTPUT_UNKNOWN
    assert refused(request("token_ids", "token_ids")).reason is Reason.TENSOR_DUPLICATE


@pytest.mark.parametrize(
    ("name", "value"), [("session", "s"), ("priority", 2), ("allowance", ""), ("max_tokens", 0)]
)
def test_an_unsupported_parameter_is_refused_by_name(name: str, value: Any) -> None:
    refusal = refused(request(**{name: value}))
    assert refusal.reason is Reason.PARAMETER_MALFORMED
    assert refusal.facts == {"param": name}


def test_a_single_part_has_both_receipts() -> None:
    (only,) = parts(request(receipt=True), AnswerPart((5,), b"one", "stop"))
    told = {name: only.parameters[name].string_param for name in ("opening_receipt", "receipt")}
    assert told == {"opening_receipt": "opened", "receipt": "answered"}
    first, last = parts(request(receipt=True))
    assert "opening_receipt" in first.parameters
    assert "opening_receipt" not in last.parameters
