"""Fields of an entry that describe the request beside model and tensors."""

from collections.abc import Callable

import numpy as np
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import MOST, Tensor, parameters_digest, write_inputs
from sealgate.trust.receipts.answer_entry import FIELDS, V1_FIELDS
from sealgate.v1 import log_pb2
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows

NEW = FIELDS[len(V1_FIELDS) :]


def recorded(harness: GatewayHarness, call: Callable[[], object]) -> dict[str, str]:
    """Return the newest entry's fields of v2 once the call is over."""
    call()
    recorder = harness.gateway.recorder
    opened = recorder.open(recorder.size - 1).opened
    return {field: opened[field][1] for field in NEW}


def asking(harness: GatewayHarness, request: oip.ModelInferRequest) -> dict[str, str]:
    return recorded(harness, lambda: harness.inference().ModelInfer(request, timeout=60))


def refused(
    harness: GatewayHarness, request: oip.ModelInferRequest, reason: Reason
) -> dict[str, str]:
    def ask() -> None:
        assert refusal(harness.inference().ModelInfer, request) is reason

    return recorded(harness, ask)


def full_question() -> oip.ModelInferRequest:
    request = question("digits", rows(), receipt=True)
    request.id = "claim-17"
    request.parameters["subject"].string_param = "patient-17"
    request.parameters["nonce"].string_param = "AAECAwQFBgcICQoLDA0ODw"
    request.parameters["priority"].uint64_param = 2
    request.outputs.add(name="logits")
    return request


def test_an_answer(harness: GatewayHarness) -> None:
    request = full_question()
    assert asking(harness, request) == {
        "alias": "production",
        "parameters": parameters_digest(request),
        "request_id": "claim-17",
        "screening": "full",
        "arithmetic": "int8",
        "actions": "",
    }


def test_an_answer_to_who_says_nothing(harness: GatewayHarness) -> None:
    request = question("digits", rows())
    said = asking(harness, request)
    assert (said["alias"], said["request_id"]) == ("production", "")
    assert said["parameters"] == parameters_digest(oip.ModelInferRequest())


def test_an_answer_of_a_version_by_its_number_has_no_alias(harness: GatewayHarness) -> None:
    request = full_question()
    request.model_version = "1"
    assert asking(harness, request)["alias"] == ""


def test_a_refusal_says_what_it_came_to(harness: GatewayHarness) -> None:
    unknown = full_question()
    unknown.parameters["alias"].string_param = "canary"
    nothing_ran = {"screening": "", "arithmetic": "", "actions": ""}
    said = refused(harness, unknown, Reason.ALIAS_UNKNOWN)
    assert said == {
        "alias": "canary",
        "parameters": parameters_digest(unknown),
        "request_id": "claim-17",
        **nothing_ran,
    }
    malformed = full_question()
    malformed.parameters["nonce"].string_param = "short"
    assert refused(harness, malformed, Reason.PARAMETER_MALFORMED) == {
        "alias": "",
        "parameters": parameters_digest(malformed),
        "request_id": "claim-17",
        **nothing_ran,
    }


@pytest.mark.parametrize("text", ["a\nb", "i" * 129])
def test_an_id_that_is_none_is_not_recorded(harness: GatewayHarness, text: str) -> None:
    request = full_question()
    request.id = text
    said = refused(harness, request, Reason.PARAMETER_MALFORMED)
    assert said == dict.fromkeys(NEW, "")


@pytest.mark.parametrize("what", ["parameters", "outputs"])
def test_too_many_parameters_are_refused_and_not_hashed(harness: GatewayHarness, what: str) -> None:
    request = full_question()
    for number in range(MOST):
        if what == "outputs":
            request.outputs.add(name=f"n{number}")
        else:
            request.parameters[f"n{number}"].bool_param = True
    said = refused(harness, request, Reason.PARAMETER_MALFORMED)
    assert (said["request_id"], said["parameters"]) == ("claim-17", "")


def test_tensors_of_another_shape(harness: GatewayHarness) -> None:
    request = oip.ModelInferRequest(model_name="digits", id="claim-18")
    write_inputs(request, [Tensor.of("x", np.zeros((1, 10), np.float32))])
    said = refused(harness, request, Reason.TENSOR_SHAPE)
    assert (said["alias"], said["request_id"], said["screening"]) == ("production", "claim-18", "")


def test_reads_of_audit_data_say_nothing_of_requests(harness: GatewayHarness) -> None:
    request = log_pb2.OpenEntryRequest(origin="house.localhost/answers", index=0)
    said = recorded(harness, lambda: harness.logs().OpenEntry(request))
    assert said == dict.fromkeys(NEW, "")
