"""Settings and recipes refuse `nan` and `inf`."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError, read_settings
from tests.support.builders.training import recipes
from training.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Limits:
    seconds: float


@dataclass(frozen=True, slots=True)
class Settings:
    limits: Limits


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf"])
def test_nan_and_infinity_are_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f"[limits]\nseconds = {value}\n")
    with pytest.raises(ConfigError, match=r"\[limits\] seconds must be a finite number"):
        read_settings(path, Settings)


def test_nan_and_infinity_are_refused_in_recipes(tmp_path: Path) -> None:
    private = recipes.PRIVATE.replace("epsilon = 2.0", "epsilon = inf")
    with pytest.raises(SealgateError) as found:
        Recipe.read(recipes.digits(tmp_path, recipes.PERCEPTRON, private))
    assert found.value.reason is Reason.RECIPE_INVALID
