"""Federated recipes are read as strictly as others, and none weakens a sum unnoticed."""

from pathlib import Path

import pytest

from sealgate.reasons import Reason, SealgateError
from tests.support.builders.training.federated_recipes import (
    FEDERATED,
    PERCEPTRON,
    PRIVATE,
    written,
)
from training.recipe.federated import TRIMMED, FederatedRecipe, FederatedSection


def test_a_recipe_is_read(tmp_path: Path) -> None:
    recipe = FederatedRecipe.read(written(tmp_path, PERCEPTRON, FEDERATED, PRIVATE))
    assert (recipe.federated.clients, recipe.federated.groups) == (9, 3)
    assert (recipe.federated.rule, recipe.private.epsilon) == ("closest", 8.0)


def test_the_demos_recipe_is_read() -> None:
    path = Path(__file__).parents[4] / "demo" / "recipes" / "digits-federated.toml"
    assert FederatedRecipe.read(path).federated.clients == 9


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((PERCEPTRON, FEDERATED, "surprise = 1"), "no setting 'surprise'"),
        ((PERCEPTRON, FEDERATED, "[surprise]"), "unknown section 'surprise'"),
        ((PERCEPTRON, FEDERATED, '[[steps]]\nkind = "train"'), "unknown section 'steps'"),
        ((PERCEPTRON, FEDERATED, "group = 2"), "group is at least 3"),
        ((PERCEPTRON, FEDERATED, "clients = 8"), "must make 3 groups"),
        ((PERCEPTRON, FEDERATED, "clients = 2000"), "at most 1023"),
        ((PERCEPTRON, FEDERATED, 'rule = "mean"'), "is one of"),
        ((PERCEPTRON, FEDERATED, 'rule = "median"\ntrim = 2'), "has no trim"),
        ((PERCEPTRON, FEDERATED, 'rule = "trimmed-mean"\ntrim = 2'), "most of the groups"),
        ((PERCEPTRON, FEDERATED, "skew = 0.0"), "must be positive"),
        ((PERCEPTRON, FEDERATED, "[private]\nnoise = 2.0"), "[private] needs epsilon"),
        ((PERCEPTRON, FEDERATED, "[private]\nepsilon = 1.0\ndelta = 1.0"), "is a probability"),
        (('[student]\nkind = "encoder"', FEDERATED), "a perceptron or a convolution"),
        ((FEDERATED,), "[student]"),
    ],
)
def test_others_are_refused(tmp_path: Path, parts: tuple[str, ...], said: str) -> None:
    with pytest.raises(SealgateError) as refused:
        FederatedRecipe.read(written(tmp_path, *parts))
    assert refused.value.reason is Reason.RECIPE_INVALID
    assert said in refused.value.detail


def test_a_convolution_takes_images_alone(tmp_path: Path) -> None:
    path = written(tmp_path, '[student]\nkind = "convolution"', FEDERATED)
    assert FederatedRecipe.read(path).student.kind == "convolution"
    table = path.read_text().replace('source = "digits"', 'source = "table"\npath = "rows.csv"')
    path.write_text(table)
    with pytest.raises(SealgateError) as refused:
        FederatedRecipe.read(path)
    assert "takes images" in refused.value.detail


def test_settings_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    for old, new in (
        ("seed = 3", "checkpoint_steps = 4"),
        ("train = 900", "train = 900\nlabels = 9"),
    ):
        other = tmp_path / "other.toml"
        other.write_text(path.read_text().replace(old, new))
        with pytest.raises(SealgateError) as refused:
            FederatedRecipe.read(other)
        assert refused.value.reason is Reason.RECIPE_INVALID


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SealgateError) as refused:
        FederatedRecipe.read(tmp_path / "missing.toml")
    assert refused.value.reason is Reason.RECIPE_INVALID


def test_a_rule_that_leaves_out_more_needs_more_groups() -> None:
    assert FederatedSection().least_groups == 3
    assert FederatedSection(clients=15, rule=TRIMMED, trim=2).least_groups == 5


def _recipe(folder: Path, federated: str) -> Path:
    return written(folder, PERCEPTRON, f"[federated]\nclients = 300\n{federated}")


def test_too_many_groups_for_the_closest_rule_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SealgateError, match="too many combinations") as found:
        FederatedRecipe.read(_recipe(tmp_path, "trim = 30\n"))
    assert found.value.reason is Reason.RECIPE_INVALID
    for fine in ("trim = 1\n", 'trim = 30\nrule = "trimmed-mean"\n'):
        assert FederatedRecipe.read(_recipe(tmp_path, fine)).federated.groups == 100
