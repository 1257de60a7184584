"""A recipe for a classifier that looks for one class in windows of texts."""

import json
from pathlib import Path

import pytest

from inference.screening.calibration import conformal_rank
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unexported")]


def test_what_its_alarms_were_bounded_on_is_told(tmp_path: Path) -> None:
    path = recipes.texts(tmp_path)
    text = path.read_text().replace("tokens = 32\n", "tokens = 16\nwindows = true\n")
    path.write_text(text + 'joined = 0.5\n[alarms]\nlabel = "offer"\nbound = 0.1\n')
    made = make(path, tmp_path / "made")
    told = made.report["alarms"]
    assert 30 < told["texts"] < 70
    assert told["rank"] == conformal_rank(told["texts"], 0.1, 0.9)
    assert (told["label"], told["bound"], told["confidence"]) == ("offer", 0.1, 0.9)
    statement = json.loads((made.model / "provenance.json").read_bytes())
    definition = statement["predicate"]["buildDefinition"]
    assert definition["internalParameters"]["alarms"] == told
