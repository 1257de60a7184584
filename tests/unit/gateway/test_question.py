"""The parameters that say how a request is scheduled, strictly read."""

import pytest

from gateway.question import Question, read_question
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal


def asked(**parameters: oip.InferParameter) -> Question:
    return read_question(oip.ModelInferRequest(model_name="m", parameters=parameters))


@pytest.mark.parametrize("kind", ["int64_param", "uint64_param"])
@pytest.mark.parametrize(("level", "urgent"), [(0, False), (1, True), (2, False)])
def test_priorities(kind: str, level: int, urgent: bool) -> None:
    assert asked(priority=oip.InferParameter(**{kind: level})).urgent is urgent


def test_a_timeout_is_in_microseconds_and_nought_is_none() -> None:
    assert asked(timeout=oip.InferParameter(int64_param=2_500_000)).timeout == 2.5
    assert asked(timeout=oip.InferParameter(int64_param=0)).timeout is None
    question = asked()
    assert (question.timeout, question.urgent) == (None, False)


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("priority", {"int64_param": -1}),
        ("priority", {"int64_param": 3}),
        ("priority", {"uint64_param": 2**64 - 1}),
        ("priority", {"string_param": "1"}),
        ("priority", {"bool_param": True}),
        ("priority", {"double_param": 1.0}),
        ("priority", {}),
        ("timeout", {"int64_param": -1}),
        ("timeout", {"uint64_param": 1}),
        ("timeout", {"double_param": 1.0}),
        ("timeout", {"string_param": "1"}),
        ("timeout", {}),
    ],
)
def test_anything_else_is_refused(name: str, choice: dict[str, object]) -> None:
    with pytest.raises(Refusal) as refused:
        asked(**{name: oip.InferParameter(**choice)})
    assert refused.value.reason is Reason.PARAMETER_MALFORMED
