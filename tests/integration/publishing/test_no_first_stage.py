"""A publisher may leave the first stage of screening out, even where one would pay."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from inference.screening.detector import Detector
from publishing.calibration import choose_first_stage
from publishing.cli import publish
from publishing.cli.publish import PublishOptions
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.worker_tasks import trial
from publishing.worker_tasks.trial_request import TrialRequest

DEMO = Path(__file__).parents[3] / "demo"
FOLDER, DATA = DEMO / "models" / "breast-cancer", DEMO / "data" / "breast-cancer.safetensors"


def made(first_stage: bool) -> tuple[Detector, dict[str, Any]]:
    """The detector, and what the screening report says of stages."""
    source, data = SourceFolder.read(FOLDER), Dataset.read(DATA)
    request = TrialRequest(
        source.config,
        source.serving,
        *(source.serving, source.response),
        *(data.fit, data.calibration, data.test),
        seed=1,
        first_stage=first_stage,
    )
    sent: list[bytes] = []
    trial.run(request.encode(), sent.append)
    _, _, _, detector, measured = sent
    return Detector.decode(detector), json.loads(measured)["screening"]["stages"]


def test_what_is_left_out_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each graph counts as dear, so that a stage is looked for otherwise."""

    def looked_for(*given: Any, **more: Any) -> Any:
        return choose_first_stage(*given, least=0.0, **more)

    monkeypatch.setattr(trial, "choose_first_stage", looked_for)
    _, found = made(first_stage=True)
    assert "forwards" in found
    detector, found = made(first_stage=False)
    assert detector.first is None
    assert found == {"first_stage": False}


@pytest.mark.parametrize(("options", "expected"), [((), True), (("--no-first-stage",), False)])
def test_the_command_passes_it_on(
    monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], expected: bool
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(publish, "release", lambda *given: asked.extend(given) or {"version": 1})
    words = [str(FOLDER), "--data", str(DATA), *options]
    result = CliRunner().invoke(publish.publish, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (publishing,) = (each for each in asked if isinstance(each, PublishOptions))
    assert publishing.first_stage is expected
