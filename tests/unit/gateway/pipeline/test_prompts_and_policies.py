"""The policy that judges a prompt decides as well whether its caller may ask."""

from typing import Any

import numpy as np
import pytest

from gateway.calls.call import RecordedRefusal
from inference.llm.messages import AnswerPart
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, write_inputs
from tests.support.fakes.generation import Stream, call_on, generate

PIECES = [AnswerPart((1,), b"a"), AnswerPart((2,), b"b", "stop")]


@pytest.mark.parametrize("streams", [True, False])
def test_a_caller_whom_it_does_not_know_hears_nothing_of_the_answer(streams: bool) -> None:
    records: list[Any] = []
    asked: list[tuple[Any, str]] = []

    def readmit(call: Any, policy: Any) -> bool:
        asked.append((call, policy.digest))
        raise SealgateError(Reason.PRINCIPAL_UNKNOWN)

    pipeline = generate(PIECES, records=records, later=[None], readmit=readmit)
    request = oip.ModelInferRequest(model_name="tiny")
    write_inputs(request, [Tensor.of("text_input", np.array([b"a walk"], object))])
    call = call_on(Stream())
    with pytest.raises(RecordedRefusal) as refused:
        list(pipeline.parts(request, call, streams=streams))
    assert refused.value.reason is Reason.PRINCIPAL_UNKNOWN
    (entry,) = records
    assert asked == [(call, entry.policy_digest)]
    assert entry.outcome == Reason.PRINCIPAL_UNKNOWN.name
