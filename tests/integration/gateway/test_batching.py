"""Bounds of the operator's, from gateway.toml to the batcher, and whose request it is."""

from typing import Any

import pytest

from gateway.config.document import GatewayConfig
from inference.batching.job import RequestOptions
from inference.engine.ready_version import ReadyVersion
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from tests.support.harness.gateway import GatewayHarness, refusal, rows

BOUNDS = """
[[batching]]
timeout_us = 60000000

[[batching]]
model = "digits"
max_rows = 4
delay_us = 1
queue_rows = 40
priority_levels = 1
"""


@pytest.fixture(scope="module")
def tight(tmp_path_factory):
    harness = GatewayHarness(tmp_path_factory.mktemp("batching") / "state", "digits-standard")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write(BOUNDS)
    harness.start()
    try:
        harness.promote("digits", 1)
        yield harness
    finally:
        harness.stop()


def question(count: int) -> oip.ModelInferRequest:
    x = rows()
    row = x.reshape(-1, x.shape[-1])[:1].repeat(count, axis=0)
    request = oip.ModelInferRequest(model_name="digits", raw_input_contents=[row.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=row.shape)
    return request


def test_the_configuration_shows_what_holds(tight):
    stub = tight.inference()
    config = stub.ModelConfig(oip.ModelConfigRequest(name="digits"), timeout=60).config
    dynamic = config.dynamic_batching
    assert (config.max_batch_size, dynamic.max_queue_delay_microseconds) == (4, 1)
    assert (dynamic.priority_levels, dynamic.default_priority_level) == (1, 1)
    policy = dynamic.default_queue_policy
    assert (policy.max_queue_size, policy.default_timeout_microseconds) == (40, 60_000_000)


def test_more_rows_than_the_operator_allows_are_refused(tight):
    stub = tight.inference()
    assert stub.ModelInfer(question(4), timeout=60).outputs[0].shape == [4, 10]
    assert refusal(stub.ModelInfer, question(5), timeout=60) is Reason.BATCH_TOO_LARGE


def test_the_batcher_knows_whose_request_it_is(tight, monkeypatch):
    callers: list[str] = []
    submit_all = ReadyVersion.submit_all

    def listening(version: ReadyVersion, requests: list[tuple[Any, RequestOptions]]) -> Any:
        callers.extend(options.caller for _, options in requests)
        return submit_all(version, requests)

    monkeypatch.setattr(ReadyVersion, "submit_all", listening)
    tight.inference().ModelInfer(question(1), timeout=60)
    assert callers == ["client"]


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ('[[batching]]\nmodel = "digits"\n', "twice"),
        ('[engine]\nsocket = "engine.socket"\n', "engine.toml"),
    ],
)
def test_bounds_that_would_not_hold_are_refused(tight, tmp_path, more, part):
    text = (tight.state / "gateway.toml").read_text() + more
    (tmp_path / "gateway.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        GatewayConfig.read(tmp_path / "gateway.toml")
    assert part in str(refused.value)
