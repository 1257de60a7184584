"""A shape of many dimensions took minutes to multiply, and an empty one of huge sizes no array
could have: both from any client, in one message, and the second as an internal error.
"""

import time

import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import read_inputs
from tests.support.people import refused

_LARGEST = 2**31 - 1


@pytest.mark.parametrize(
    "shape",
    [
        [1] * 100,
        [_LARGEST] * 50_000,
        [0, *[_LARGEST] * 50_000],
        [0, _LARGEST, _LARGEST, _LARGEST],
    ],
    ids=["deep", "deep-and-large", "deep-and-empty", "large-and-empty"],
)
def test_is_refused_at_once(shape: list[int]) -> None:
    request = oip.ModelInferRequest()
    tensor = request.inputs.add(name="x", datatype="FP32", shape=shape)
    tensor.contents.fp32_contents.append(0.0)
    began = time.process_time()
    with refused(Reason.TENSOR_SHAPE):
        read_inputs(request)
    assert time.process_time() - began < 0.1


def test_an_empty_tensor_is_read() -> None:
    request = oip.ModelInferRequest(raw_input_contents=[b""])
    request.inputs.add(name="x", datatype="FP32", shape=[0, 64])
    assert read_inputs(request)["x"].data.shape == (0, 64)
