"""Requests to a language model: their parameters and their messages."""

import json
from typing import Any

import numpy as np
import pytest

from inference.llm import messages
from inference.llm.messages import (
    AnswerPart,
    read_part,
    read_place,
    read_prologue,
    read_sampling_request,
)
from inference.llm.request import Sampling, SamplingRequest, answer_digest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, write_inputs
from sealgate.trust.receipts.answer_entry import tensors_digest


def texts(name: str, *values: bytes) -> Tensor:
    array = np.empty(len(values), object)
    array[:] = values
    return Tensor.of(name, array)


def request(*tensors: Tensor, **parameters: Any) -> oip.ModelInferRequest:
    made = oip.ModelInferRequest(model_name="tiny", id="7")
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    for name, value in parameters.items():
        setattr(made.parameters[name], kinds[type(value)], value)
    write_inputs(made, tensors or [texts("text_input", b"hello")])
    return made


def seed() -> int:
    return 99


def refused(made: oip.ModelInferRequest) -> Reason:
    with pytest.raises(SealgateError) as found:
        read_sampling_request(made, seed)
    return found.value.reason


def test_a_request_without_parameters_is_greedy() -> None:
    assert read_sampling_request(request(), seed) == SamplingRequest(b"hello", False, Sampling(16))


def test_all_parameters() -> None:
    asked = read_sampling_request(
        request(
            texts("messages", b"[]"),
            max_tokens=5,
            temperature="0.5",
            top_p=0.9,
            stop='["a", "\\n"]',
            seed=3,
        ),
        seed,
    )
    assert asked == SamplingRequest(b"[]", True, Sampling(5, 0.5, 0.9, ("a", "\n"), 3))


def test_a_seed_is_drawn_where_tokens_are() -> None:
    assert read_sampling_request(request(temperature=1), seed).sampling.seed == 99
    assert read_sampling_request(request(), seed).sampling.seed == 0


def test_one_stop_may_come_as_it_is() -> None:
    assert read_sampling_request(request(stop="END"), seed).sampling.stop == ("END",)


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": 1 << 20},
        {"max_tokens": "5"},
        {"max_tokens": 5.0},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": 11},
        {"temperature": "hot"},
        {"temperature": "1e3"},
        {"temperature": True},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
        {"seed": -1},
        {"seed": 1 << 53},
        {"stop": ""},
        {"stop": "x" * 129},
        {"stop": "[1]"},
        {"stop": "[broken"},
        {"stop": '{"a": 1}' * 100},
        {"stop": json.dumps(["a"] * 9)},
        {"stop": json.dumps(["a" * 10_000])},
        {"stream": "yes"},
    ],
)
def test_parameters_that_are_refused(parameters: dict[str, Any]) -> None:
    assert refused(request(**parameters)) is Reason.PARAMETER_MALFORMED


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ([texts("prompt", b"x")], Reason.TENSOR_NAME),
        ([texts("text_input", b"x"), texts("messages", b"[]")], Reason.TENSOR_NAME),
        ([texts("text_input", b"x", b"y")], Reason.TENSOR_SHAPE),
        ([Tensor.of("text_input", np.zeros(1, np.float32))], Reason.TENSOR_DATATYPE),
    ],
)
def test_inputs_that_are_refused(tensors: list[Tensor], reason: Reason) -> None:
    assert refused(request(*tensors)) is reason


def test_what_is_written_is_read_again() -> None:
    asked = SamplingRequest("Grüße".encode(), False, Sampling(7, 0.25, 0.5, ("a", "[b"), 12))
    made = oip.ModelInferRequest(model_name="tiny")
    messages.write_sampling_request(made, asked)
    assert read_sampling_request(made, seed) == asked


def test_answers_are_read_again() -> None:
    first, piece = oip.ModelInferResponse(), oip.ModelInferResponse()
    messages.write_prologue(first, (1, 2), 3.5)
    assert read_prologue(first) == ((1, 2), 3.5)
    unmeasured = oip.ModelInferResponse()
    messages.write_prologue(unmeasured, (1, 2), None)
    assert read_prologue(unmeasured) == ((1, 2), None)
    for said in (AnswerPart((4,), b"x"), AnswerPart((4, 5), b"", "stop")):
        piece = oip.ModelInferResponse()
        messages.write_part(piece, said)
        assert read_part(piece) == said


def test_a_prologue_says_where_the_answer_is_computed() -> None:
    here, there = oip.ModelInferResponse(), oip.ModelInferResponse()
    messages.write_prologue(here, (1, 2), None)
    messages.write_prologue(there, (1, 2), None, "cuda (Card 0)")
    assert (read_place(here), read_place(there)) == ("", "cuda (Card 0)")
    assert read_prologue(there) == ((1, 2), None)


@pytest.mark.parametrize("place", ["", "cuda\n", "x" * 101])
def test_a_place_that_cannot_be_shown_is_refused(place: str) -> None:
    first = oip.ModelInferResponse()
    first.parameters[messages.PLACE].string_param = place
    with pytest.raises(SealgateError) as found:
        read_place(first)
    assert found.value.reason is Reason.ANSWER_MALFORMED


@pytest.mark.parametrize("read", [read_prologue, read_part])
def test_answers_of_another_form_are_refused(read: Any) -> None:
    with pytest.raises(SealgateError) as found:
        read(oip.ModelInferResponse())
    assert found.value.reason is Reason.ANSWER_MALFORMED


def test_a_score_is_a_number() -> None:
    first = oip.ModelInferResponse()
    messages.write_prologue(first, (1, 2), None)
    first.parameters[messages.SCORE].string_param = "low"
    with pytest.raises(SealgateError) as found:
        read_prologue(first)
    assert found.value.reason is Reason.ANSWER_MALFORMED


def test_the_record_binds_prompt_and_sampling() -> None:
    asked = SamplingRequest(b"hello", False, Sampling(16))
    sampling = texts("sampling", asked.sampling.encode())
    tensors = [texts("text_input", b"hello"), sampling]
    assert asked.digest == tensors_digest((t.name, t.datatype, t.shape, t.raw) for t in tensors)
    assert asked.digest != SamplingRequest(b"hello", True, Sampling(16)).digest
    assert asked.digest != SamplingRequest(b"hello", False, Sampling(16, seed=1)).digest


def test_the_record_binds_tokens_and_text() -> None:
    ids = [
        Tensor.of(name, np.array(found, np.int64))
        for name, found in (("prompt_ids", [1, 2]), ("token_ids", [3]))
    ]
    tensors = [*ids, texts("text_output", b"x")]
    expected = tensors_digest((t.name, t.datatype, t.shape, t.raw) for t in tensors)
    assert answer_digest([1, 2], [3], b"x") == expected
