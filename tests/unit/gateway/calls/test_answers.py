"""Answers that are put together from bytes are what protobuf writes."""

import numpy as np
import pytest

from gateway.calls.messages import answer_bytes
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, write_outputs

LOGITS = Tensor.of("logits", np.arange(10, dtype="<f4").reshape(1, 10))
WORDS = Tensor.of("words", np.array([b"one", "zwölf".encode()], object))
NOTHING = Tensor.of("nothing", np.zeros((0, 3), "<i8"))


@pytest.mark.parametrize("request_id", ["", "a", "größer als 127 Byte " * 10])
@pytest.mark.parametrize("receipt", [None, b"", b'{"a": 1}', b"r" * 127, b"r" * 128, b"r" * 20_000])
@pytest.mark.parametrize("outputs", [[], [LOGITS], [LOGITS, WORDS, NOTHING], [LOGITS, LOGITS]])
def test_the_bytes_are_protobufs(
    request_id: str, receipt: bytes | None, outputs: list[Tensor]
) -> None:
    response = oip.ModelInferResponse(model_name="digits", model_version="12", id=request_id)
    write_outputs(response, outputs)
    if receipt is not None:
        response.parameters["receipt"].string_param = receipt.decode()
    expected = response.SerializeToString()
    assert answer_bytes("digits", "12", request_id, outputs, receipt) == expected


def test_versions_are_told_apart() -> None:
    made = {
        answer_bytes(model, version, "", [LOGITS], None)
        for model, version in (("digits", "1"), ("digits", "2"), ("letters", "1"))
    }
    assert len(made) == 3
