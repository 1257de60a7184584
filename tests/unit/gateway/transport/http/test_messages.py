"""Requests and answers between HTTP and the protocol's messages."""

import json
import zlib

import numpy as np
import pytest

from gateway.calls.messages import unpacked
from gateway.transport.http.bodies import STATUS, refused
from gateway.transport.http.infer import OutputOptions, read_request, write_response
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.remote import errors
from sealgate.tensors import Tensor, read_inputs, write_outputs

# google/rpc/code.proto.
CANONICAL = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "DATA_LOSS": 500,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def read(document: object, tail: bytes = b"") -> tuple[oip.ModelInferRequest, OutputOptions]:
    head = json.dumps(document).encode()
    return read_request("m", "", head + tail, str(len(head)))


def reason(document: object, tail: bytes = b"") -> Reason:
    with pytest.raises(SealgateError) as caught:
        read(document, tail)
    return caught.value.reason


def given(**more: object) -> dict:
    return {"name": "x", "datatype": "INT8", "shape": [2], **more}


def test_json_and_raw_inputs_side_by_side() -> None:
    raw = {"parameters": {"binary_data_size": 2}}
    inputs = [given(**raw), given(name="y", data=[3, 4]), given(name="z", **raw)]
    request, _ = read({"inputs": inputs}, bytes([1, 2, 5, 6]))
    found = {name: tensor.data.tolist() for name, tensor in read_inputs(request).items()}
    assert found == {"x": [1, 2], "y": [3, 4], "z": [5, 6]}


def test_texts() -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["a", "ß"]}
    request, _ = read({"inputs": [tensor]})
    assert read_inputs(request)["text"].data.tolist() == [b"a", "ß".encode()]


def test_parameters_have_the_types_that_grpc_has() -> None:
    parameters = {"a": True, "b": -1, "c": 2**63, "d": 0.5, "e": "x"}
    request, _ = read({"inputs": [], "parameters": parameters})
    kinds = {
        name: value.WhichOneof("parameter_choice") for name, value in request.parameters.items()
    }
    assert kinds == {
        "a": "bool_param",
        "b": "int64_param",
        "c": "uint64_param",
        "d": "double_param",
        "e": "string_param",
    }


@pytest.mark.parametrize(
    ("parameters", "outputs", "raw"),
    [
        ({}, [], False),
        ({"binary_data_output": True}, [], True),
        (
            {"binary_data_output": True},
            [{"name": "y", "parameters": {"binary_data": False}}],
            False,
        ),
        ({}, [{"name": "y", "parameters": {"binary_data": True}}], True),
        ({"binary_data_output": True}, [{"name": "y"}], True),
    ],
)
def test_which_outputs_come_raw(parameters: dict, outputs: list, raw: bool) -> None:
    request, options = read({"inputs": [], "parameters": parameters, "outputs": outputs})
    assert options.is_raw("y") is raw
    assert not request.parameters


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"inputs": [], "x": 1}, Reason.MESSAGE_MALFORMED),
        ({"inputs": {}}, Reason.MESSAGE_MALFORMED),
        ({"inputs": [1]}, Reason.MESSAGE_MALFORMED),
        ({"inputs": [], "id": 7}, Reason.MESSAGE_MALFORMED),
        ({"inputs": [], "id": "\ud800"}, Reason.MESSAGE_MALFORMED),
        ({"inputs": [], "parameters": []}, Reason.MESSAGE_MALFORMED),
        ({"inputs": [], "parameters": {"\ud800": 1}}, Reason.MESSAGE_MALFORMED),
        ({"inputs": [], "parameters": {"a": "\ud800"}}, Reason.MESSAGE_MALFORMED),
        ({"inputs": [], "parameters": {"a": None}}, Reason.PARAMETER_MALFORMED),
        ({"inputs": [], "parameters": {"a": 2**64}}, Reason.PARAMETER_MALFORMED),
        ({"inputs": [], "parameters": {"a": [1]}}, Reason.PARAMETER_MALFORMED),
        ({"inputs": [], "parameters": {"binary_data_output": 1}}, Reason.PARAMETER_MALFORMED),
        ({"inputs": [], "outputs": [{}]}, Reason.MESSAGE_MALFORMED),
        (
            {"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": 3}}]},
            Reason.MESSAGE_MALFORMED,
        ),
        ({"inputs": [given()]}, Reason.RAW_CONTENTS_MISMATCH),
        (
            {"inputs": [given(data=[1, 2], parameters={"binary_data_size": 2})]},
            Reason.RAW_CONTENTS_MISMATCH,
        ),
        ({"inputs": [given(data=5)]}, Reason.MESSAGE_MALFORMED),
        ({"inputs": [given(data=[1, 2], shape=[2.0])]}, Reason.TENSOR_SHAPE),
        ({"inputs": [given(data=[1, 2], shape=[True])]}, Reason.TENSOR_SHAPE),
        ({"inputs": [given(data=[1, 2], shape=[2**63])]}, Reason.TENSOR_SHAPE),
        ({"inputs": [given(data=[1, 2], shape=2)]}, Reason.MESSAGE_MALFORMED),
        ({"inputs": [given(data=[1, 2], name=1)]}, Reason.MESSAGE_MALFORMED),
        (
            {"inputs": [given(parameters={"shared_memory_region": "r"})]},
            Reason.MESSAGE_MALFORMED,
        ),
        (
            {"inputs": [given(parameters={"binary_data_size": True})]},
            Reason.PARAMETER_MALFORMED,
        ),
    ],
)
def test_what_is_no_request(document: object, expected: Reason) -> None:
    assert reason(document) is expected


def response(data: np.ndarray) -> oip.ModelInferResponse:
    message = oip.ModelInferResponse(model_name="m", model_version="1")
    write_outputs(message, [Tensor.of("y", data)])
    return message


def test_float32_survives_json() -> None:
    data = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    answer = json.loads(write_response(response(data), OutputOptions()).body)
    found = np.array(answer["outputs"][0]["data"], np.float32)
    assert found.tobytes() == data.tobytes()


def test_what_json_cannot_say_is_refused_and_raw_it_can_be_said() -> None:
    message = response(np.array([np.nan], np.float32))
    with pytest.raises(SealgateError) as caught:
        write_response(message, OutputOptions())
    assert caught.value.reason is Reason.ANSWER_MALFORMED
    assert write_response(message, OutputOptions(raw=True)).body.endswith(b"\xc0\x7f")


def test_every_kind_has_the_status_of_its_grpc_code() -> None:
    assert {kind: CANONICAL[code.name] for kind, code in errors.STATUS.items()} == STATUS
    assert set(STATUS) == set(Kind)


def test_a_refusal_says_its_reason_and_nothing_of_its_detail() -> None:
    refusal = SealgateError(Reason.STEP_UP, "secret", facts={"request": "sha256:1"})
    answer = refused(refusal, b"{}")
    assert json.loads(answer.body) == {
        "error": Reason.STEP_UP.sentence,
        "reason": "STEP_UP",
        "metadata": {"request": "sha256:1"},
        "receipt": "{}",
    }
    assert answer.headers == ()


@pytest.mark.parametrize(("retry", "seconds"), [(None, "1"), (0.2, "1"), (5.2, "6"), (0.0, "1")])
def test_when_to_come_again(retry: float | None, seconds: str) -> None:
    answer = refused(SealgateError(Reason.QUEUE_FULL, retry=retry))
    assert answer.headers == (("retry-after", seconds),)
    assert refused(SealgateError(Reason.DRAINING, retry=retry)).headers == ()


def test_a_body_of_just_the_largest_size() -> None:
    packed = bytearray(zlib.compress(bytes(1000)))
    assert unpacked(packed, "deflate", 1000) == bytes(1000)
    with pytest.raises(SealgateError) as caught:
        unpacked(packed, "deflate", 999)
    assert caught.value.reason is Reason.MESSAGE_TOO_LARGE
    assert unpacked(bytearray(b"x"), None, 1) == b"x"
