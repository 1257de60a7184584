"""An answer names the policy that decided it, also right after a policy change."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sealgate.client.client import connect, options_of
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, write_inputs
from tests.support.builders.models import tiny_decoder
from tests.support.harness.gateway import GatewayHarness, rows, running
from tests.support.harness.generator import generating
from tests.support.harness.policy_changes import change

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with running(tmp_path_factory.mktemp("house") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        yield harness


def test_an_answer_names_the_policy_that_released_it(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, profile = harness.gateway, harness.profile("client")
    assert gateway is not None
    before = gateway.engine.live()["digits", "production"]
    labels = {"roles": {"client": {"labels_only": True}}}
    change(harness, lambda policy: policy.update(screens={"digits": labels}))
    assert before.policy != gateway.engine.policy_in_force().digest
    # As between the two: what is live is still that of the policy before.
    monkeypatch.setattr(gateway.engine, "resolve", lambda *asked: replace(before))
    with connect(profile.endpoint, **options_of(profile)) as client:
        answer = client.infer("digits", {"x": rows()})
    assert set(answer.outputs) == {"label"}
    assert answer.receipt.fields["policy_digest"] == gateway.engine.policy_in_force().digest


def test_a_stream_names_the_policy_that_judged_its_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with generating(tmp_path / "state", tiny_decoder.make(tmp_path / "tiny")) as harness:
        gateway = harness.gateway
        before = gateway.engine.live()["tiny", "production"]
        flagged = {"verdicts": {"adversarial": "flag", "suspect": "flag"}}
        change(harness, lambda policy: policy.update(screens={"tiny": flagged}))
        monkeypatch.setattr(gateway.engine, "resolve", lambda *asked: replace(before))
        request = oip.ModelInferRequest(model_name="tiny")
        request.parameters["max_tokens"].int64_param = 2
        write_inputs(request, [Tensor.of("text_input", np.array([b"a walk"], object))])
        start = gateway.recorder.size
        assert not list(harness.inference().ModelStreamInfer(iter([request])))[-1].error_message
        named = {entry["policy_digest"] for entry in harness.entries(start)}
        assert named == {gateway.engine.policy_in_force().digest} != {before.policy}
