"""A federated recipe with many groups, of which many may be poisoned, kept its server busy for
years: `closest` looked at every set of the others.
"""

from pathlib import Path

import pytest

from sealgate.reasons import Reason, Refusal
from tests.support.federated_recipes import PERCEPTRON, written
from training.federated.recipe import FederatedRecipe


def _recipe(folder: Path, federated: str) -> Path:
    return written(folder, PERCEPTRON, f"[federated]\nclients = 300\n{federated}")


def test_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="too many sets") as found:
        FederatedRecipe.read(_recipe(tmp_path, "trim = 30\n"))
    assert found.value.reason is Reason.RECIPE_INVALID
    for fine in ("trim = 1\n", 'trim = 30\nrule = "trimmed-mean"\n'):
        assert FederatedRecipe.read(_recipe(tmp_path, fine)).federated.groups == 100
