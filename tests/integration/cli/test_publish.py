"""`sealgate model publish`: what it says of the worker that runs the model."""

import pytest

from tests.support.harness.gateway import DATA, MODELS, GatewayHarness, running


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("cli") / "state") as harness:
        yield harness


def publish(harness: GatewayHarness, model: str, *options: str):
    data = DATA / f"{model}.safetensors"
    return harness.command("model", "publish", str(MODELS / model), "--data", str(data), *options)


def test_progress_is_shown_and_nothing_is_unsafe(harness):
    result = publish(harness, "breast-cancer")
    assert result.exit_code == 0, result.output
    steps = [line.split()[0] for line in result.stderr.splitlines()]
    assert "warning:" not in steps
    assert steps[:7] == ["commit", "mark", "quantize", "golden", "calibrate", "admit", "sign"]


def test_an_unsafe_worker_is_warned_of(harness):
    result = publish(harness, "breast-cancer", "--unsafe-worker")
    assert result.exit_code == 0, result.output
    assert "warning: the model may run unconfined" in result.stderr


def test_limits_must_be_ones(harness):
    for option in ("--memory", "--seconds"):
        assert publish(harness, "breast-cancer", option, "0").exit_code == 2
