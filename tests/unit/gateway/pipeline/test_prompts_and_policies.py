"""The policy that judges a prompt decides as well whether its caller may ask. Of an answer that is
not streamed, the one in force at its end decides that again.
"""

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


def prompt() -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="tiny")
    write_inputs(request, [Tensor.of("text_input", np.array([b"a walk"], object))])
    return request


@pytest.mark.parametrize("streams", [True, False])
def test_a_caller_whom_it_does_not_know_hears_nothing_of_the_answer(streams: bool) -> None:
    records: list[Any] = []
    asked: list[tuple[Any, str]] = []

    def readmit(call: Any, policy: Any) -> bool:
        asked.append((call, policy.digest))
        raise SealgateError(Reason.PRINCIPAL_UNKNOWN)

    pipeline = generate(PIECES, records=records, later=[None], readmit=readmit)
    call = call_on(Stream())
    with pytest.raises(RecordedRefusal) as refused:
        list(pipeline.parts(prompt(), call, streams=streams))
    assert refused.value.reason is Reason.PRINCIPAL_UNKNOWN
    (entry,) = records
    assert asked == [(call, entry.policy_digest)]
    assert entry.outcome == Reason.PRINCIPAL_UNKNOWN.name


def test_a_caller_who_is_removed_meanwhile_hears_nothing_either() -> None:
    """A streamed answer's caller is checked again before each part leaves."""
    records: list[Any] = []

    def readmit(call: Any, policy: Any) -> bool:
        if policy.digest == "policy 1":
            raise SealgateError(Reason.PRINCIPAL_UNKNOWN)
        return False

    pipeline = generate(PIECES, records=records, later=[None], readmit=readmit)
    with pytest.raises(RecordedRefusal) as refused:
        pipeline.whole(prompt(), call_on(Stream()))
    assert refused.value.reason is Reason.PRINCIPAL_UNKNOWN
    (entry,) = records
    assert (entry.outcome, entry.policy_digest) == ("PRINCIPAL_UNKNOWN", "policy 1")
    pipeline = generate(PIECES, records=records, later=[None], readmit=readmit)
    assert len(list(pipeline.parts(prompt(), call_on(Stream()), streams=True))) == 2
