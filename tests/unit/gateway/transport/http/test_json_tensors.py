"""Tensors between JSON and their raw form."""

import struct

import numpy as np
import pytest

from gateway.transport.http.bodies import json_contents, raw_contents
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, read_inputs


@pytest.mark.parametrize(
    ("datatype", "values", "raw"),
    [
        ("BOOL", [True, False], b"\x01\x00"),
        ("INT8", [-128, 127], b"\x80\x7f"),
        ("UINT8", [0, 255], b"\x00\xff"),
        ("INT16", [-(2**15)], b"\x00\x80"),
        ("UINT16", [2**16 - 1], b"\xff\xff"),
        ("INT32", [-1], b"\xff" * 4),
        ("UINT32", [2**32 - 1], b"\xff" * 4),
        ("INT64", [-(2**63), 2**63 - 1], struct.pack("<qq", -(2**63), 2**63 - 1)),
        ("UINT64", [0, 2**64 - 1], struct.pack("<QQ", 0, 2**64 - 1)),
        ("FP32", [1, 0.1], struct.pack("<ff", 1, 0.1)),
        ("FP64", [0.1, -3], struct.pack("<dd", 0.1, -3)),
        ("BYTES", ["", "ä"], struct.pack("<II", 0, 2) + "ä".encode()),
        ("FP32", [], b""),
        ("INT64", [], b""),
    ],
)
def test_there_and_back(datatype: str, values: list, raw: bytes) -> None:
    assert raw_contents(values, datatype, [len(values)]) == raw
    request = oip.ModelInferRequest(raw_input_contents=[raw])
    request.inputs.add(name="x", datatype=datatype, shape=[len(values)])
    back = json_contents(read_inputs(request)["x"])
    assert raw_contents(back, datatype, [len(values)]) == raw
    assert [type(value) for value in back] == [
        float if datatype.startswith("FP") else type(value) for value in values
    ]


def test_nested_as_the_shape_says() -> None:
    flat = raw_contents([1, 2, 3, 4, 5, 6], "INT32", [3, 1, 2])
    assert raw_contents([[[1, 2]], [[3, 4]], [[5, 6]]], "INT32", [3, 1, 2]) == flat
    assert raw_contents([[], []], "INT32", [2, 0]) == b""


@pytest.mark.parametrize(
    ("datatype", "values", "shape", "reason"),
    [
        ("FP8", [], [0], Reason.TENSOR_DATATYPE),
        ("fp32", [], [0], Reason.TENSOR_DATATYPE),
        ("FP16", [1.0], [1], Reason.TENSOR_BYTES),
        ("BF16", [1.0], [1], Reason.TENSOR_BYTES),
        ("INT8", [128], [1], Reason.TENSOR_RANGE),
        ("INT8", [-129], [1], Reason.TENSOR_RANGE),
        ("UINT8", [-1], [1], Reason.TENSOR_RANGE),
        ("UINT64", [-1], [1], Reason.TENSOR_RANGE),
        ("UINT64", [2**64], [1], Reason.TENSOR_RANGE),
        ("INT64", [2**63], [1], Reason.TENSOR_RANGE),
        ("INT32", [10**400], [1], Reason.TENSOR_RANGE),
        ("FP32", [1e39], [1], Reason.TENSOR_RANGE),
        ("FP64", [float("1e999")], [1], Reason.TENSOR_RANGE),
        ("FP64", [10**400], [1], Reason.TENSOR_RANGE),
        ("INT32", [1.0], [1], Reason.TENSOR_BYTES),
        ("INT32", [True], [1], Reason.TENSOR_BYTES),
        ("INT32", ["1"], [1], Reason.TENSOR_BYTES),
        ("INT32", [None], [1], Reason.TENSOR_BYTES),
        ("BOOL", [1], [1], Reason.TENSOR_BYTES),
        ("FP32", [True], [1], Reason.TENSOR_BYTES),
        ("FP32", [{}], [1], Reason.TENSOR_BYTES),
        ("BYTES", [1], [1], Reason.TENSOR_BYTES),
        ("BYTES", ["\ud800"], [1], Reason.TENSOR_BYTES),
        ("INT32", [[1, 2], [3]], [2, 2], Reason.TENSOR_BYTES),
        ("INT32", [[1, 2], 3, 4], [2, 2], Reason.TENSOR_BYTES),
        ("INT32", [1, [2]], [2], Reason.TENSOR_BYTES),
        ("INT32", [[1], [2]], [2], Reason.TENSOR_BYTES),
        ("INT32", [[1], [2]], [1, 2], Reason.TENSOR_BYTES),
        ("INT32", [[1]], [], Reason.TENSOR_BYTES),
        ("INT32", [[[1]]], [1, 1], Reason.TENSOR_BYTES),
    ],
)
def test_what_does_not_fit(datatype: str, values: list, shape: list[int], reason: Reason) -> None:
    with pytest.raises(SealgateError) as caught:
        raw_contents(values, datatype, shape)
    assert caught.value.reason is reason


def test_bytes_that_are_no_text_cannot_be_answered() -> None:
    array = np.empty(1, object)
    array[:] = [b"\xff"]
    with pytest.raises(SealgateError) as caught:
        json_contents(Tensor.of("", array))
    assert caught.value.reason is Reason.ANSWER_MALFORMED
