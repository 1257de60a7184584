"""Recipes are read strictly: what would be ignored or cannot work is refused."""

from pathlib import Path

import pytest

from sealgate.reasons import Reason, Refusal
from tests.support import recipes
from training.recipe import Recipe


def refusal(path: Path) -> Refusal:
    with pytest.raises(Refusal) as refused:
        Recipe.read(path)
    assert refused.value.reason is Reason.RECIPE_INVALID
    return refused.value


def test_a_recipe_is_read(tmp_path: Path) -> None:
    recipe = Recipe.read(recipes.digits(tmp_path))
    assert [step.kind for step in recipe.steps] == ["distil", "quantize"]
    assert (recipe.run.seed, recipe.data.labels, recipe.teacher.kind) == (3, 300, "boosting")


def test_paths_begin_at_the_recipes_folder(tmp_path: Path) -> None:
    assert Recipe.read(recipes.texts(tmp_path)).data.path == tmp_path / "texts.jsonl"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((recipes.PERCEPTRON, recipes.TRAIN, "surprise = 1"), "no setting 'surprise'"),
        ((recipes.PERCEPTRON, recipes.TRAIN, "[surprise]"), "unknown section 'surprise'"),
        ((recipes.PERCEPTRON, recipes.TRAIN, "temperature = 3.0"), "no setting 'temperature'"),
        ((recipes.PERCEPTRON, recipes.TRAIN, "bits = 0"), "must be positive"),
        ((recipes.PERCEPTRON, recipes.TRAIN, 'batch = "64"'), "must be of type int"),
        ((recipes.PERCEPTRON, '[[steps]]\nkind = "dance"'), "is one of"),
        ((recipes.PERCEPTRON,), "needs [[steps]]"),
        ((recipes.PERCEPTRON, recipes.DISTIL), "needs a [teacher]"),
        ((recipes.BOOSTED, recipes.PERCEPTRON, recipes.TRAIN), "a teacher a step distil"),
        ((recipes.PERCEPTRON, recipes.QUANTIZE), "after another"),
        ((recipes.PERCEPTRON, recipes.QUANTIZE, recipes.TRAIN), "is the last"),
        ((recipes.PERCEPTRON, recipes.TRAIN, recipes.PRIVATE), "is the only one"),
        (('[student]\nkind = "encoder"', recipes.TRAIN), "takes texts"),
        (('[student]\nkind = "convolution"', recipes.TRAIN), "takes images"),
        (('[teacher]\nkind = "graph"', recipes.PERCEPTRON, recipes.DISTIL), "has a path"),
        ((recipes.TRAIN,), "[student]"),
    ],
)
def test_others_are_refused(tmp_path: Path, parts: tuple[str, ...], said: str) -> None:
    assert said in refusal(recipes.digits(tmp_path, *parts)).detail


def test_what_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[model")
    assert "not TOML" in refusal(path).detail
    assert "not a file" in refusal(tmp_path / "missing.toml").detail
