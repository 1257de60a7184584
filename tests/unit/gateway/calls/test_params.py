"""The parameters that say how a request is scheduled, strictly read."""

import pytest

from gateway.calls.params import InferenceParams, read_id, read_params
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError


def asked(**parameters: oip.InferParameter) -> InferenceParams:
    return read_params(oip.ModelInferRequest(model_name="m", parameters=parameters))


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
        ("triton_enable_empty_final_response", {"string_param": "true"}),
    ],
)
def test_anything_else_is_refused(name: str, choice: dict[str, object]) -> None:
    with pytest.raises(SealgateError) as refused:
        asked(**{name: oip.InferParameter(**choice)})
    assert refused.value.reason is Reason.PARAMETER_MALFORMED


@pytest.mark.parametrize("nonce", ["A" * 22, "0123456789abcdef" * 2, "a-Z_9" * 12 + "abcd"])
def test_a_nonce_is_taken_and_means_nothing(nonce: str) -> None:
    assert asked(nonce=oip.InferParameter(string_param=nonce)) == asked()


@pytest.mark.parametrize(
    "choice",
    [
        {"string_param": ""},
        {"string_param": "A" * 21},
        {"string_param": "A" * 65},
        {"string_param": "A" * 21 + "="},
        {"string_param": "A" * 22 + "\n"},
        {"string_param": "\u0391" * 22},
        {"int64_param": 2**60},
        {"bool_param": True},
        {},
    ],
)
def test_another_nonce_is_refused(choice: dict[str, object]) -> None:
    with pytest.raises(SealgateError) as refused:
        asked(nonce=oip.InferParameter(**choice))  # type: ignore[arg-type]
    assert refused.value.reason is Reason.PARAMETER_MALFORMED


def test_an_id_is_read_and_bounded() -> None:
    assert read_id(oip.ModelInferRequest(id="claim-17")) == "claim-17"
    for text in ("a" * 129, "a\nb", "\x1b[31m"):
        with pytest.raises(SealgateError) as refused:
            read_id(oip.ModelInferRequest(id=text))
        assert refused.value.reason is Reason.PARAMETER_MALFORMED
