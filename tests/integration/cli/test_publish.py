"""`sealgate model publish`: what it says of the worker that runs the model."""

import pytest

from tests.support.house import DATA, MODELS, House, running


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with running(tmp_path_factory.mktemp("cli") / "state") as house:
        yield house


def publish(house: House, model: str, *options: str):
    folder, data = MODELS / f"{model}-1", DATA / f"{model}.safetensors"
    return house.command("model", "publish", str(folder), "--data", str(data), *options)


def test_progress_is_shown_and_nothing_is_unsafe(house):
    result = publish(house, "digits")
    assert result.exit_code == 0, result.output
    steps = [line.split()[0] for line in result.stderr.splitlines()]
    assert "warning:" not in steps
    assert steps[:7] == ["commit", "mark", "quantize", "golden", "calibrate", "admit", "sign"]


def test_an_unsafe_worker_is_warned_of(house):
    result = publish(house, "breast-cancer", "--unsafe-worker")
    assert result.exit_code == 0, result.output
    assert "warning: the model may run without being shut in" in result.stderr


def test_limits_must_be_ones(house):
    for option in ("--memory", "--seconds"):
        assert publish(house, "digits", option, "0").exit_code == 2
