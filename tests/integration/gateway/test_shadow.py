"""A version that is only approved for `shadow` answers nobody."""

from sealgate.oip.grpc_service_pb2 import ModelInferRequest
from sealgate.reasons import Reason
from tests.support.harness.gateway import question, refusal, rows, running
from tests.support.harness.rollouts import share


def asked(alias: str = "", version: str = "") -> ModelInferRequest:
    request = question("digits", rows())
    request.model_version = version
    if alias:
        request.parameters["alias"].string_param = alias
    return request


def test_a_shadow_version_answers_nobody(tmp_path):
    with running(tmp_path / "state", "digits-standard", "digits-hardened") as harness:
        harness.promote("digits", 1)
        share(harness, 2, 100, "shadow")
        infer = harness.inference().ModelInfer
        for request in (asked(alias="shadow"), asked(version="2")):
            assert refusal(infer, request, timeout=60) is Reason.VERSION_NOT_LIVE
        share(harness, 2, 0, "canary")
        for request in (asked(alias="canary"), asked(version="2")):
            assert infer(request, timeout=60).model_version == "2"
        assert refusal(infer, asked(alias="shadow"), timeout=60) is Reason.VERSION_NOT_LIVE
