"""Recipes that cannot be followed are refused before training."""

from pathlib import Path

import pytest

from sealgate.reasons import Reason
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import refused
from training.run import recipe_run


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(*_: object) -> None:
        raise AssertionError("it is trained")

    monkeypatch.setattr(recipe_run, "follow", follow)


@pytest.mark.parametrize(
    ("alarms", "reason"),
    [
        ('label = "spam"', Reason.RECIPE_INVALID),
        ('label = "7"\nbound = 0.001', Reason.CALIBRATION_TOO_SMALL),
    ],
)
def test_alarms_are_checked_before_training(tmp_path: Path, alarms: str, reason: Reason) -> None:
    parts = recipes.PERCEPTRON, recipes.TRAIN, f"[alarms]\n{alarms}\n"
    assert refused(recipes.digits(tmp_path, *parts), tmp_path / "made").reason is reason
    assert not (tmp_path / "made").exists()


def test_seeds_are_checked_before_training(tmp_path: Path) -> None:
    recipe = recipes.digits(tmp_path)
    recipe.write_text(recipe.read_text().replace("seed = 3", f"seed = {1 << 60}"))
    with pytest.raises(Exception, match=r"seed must be below 2\^32") as found:
        recipe_run.RecipeRun(recipe, tmp_path / "made", lambda *_: None)
    assert found.value.reason is Reason.RECIPE_INVALID  # type: ignore[attr-defined]
