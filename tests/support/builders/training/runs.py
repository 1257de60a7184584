"""Runs of recipes, with files of weights in the place of graphs where a test is not about them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from sealgate.reasons import SealgateError
from training.run import finishing
from training.run.finishing import FinishedRun
from training.run.recipe_run import RecipeRun

EXPORTERS = ("export_serving", "export_response", "export_text_serving", "export_text_response")


def make(recipe: Path, out: Path) -> FinishedRun:
    return RecipeRun(recipe, out, lambda *_: None).make()


def refused(recipe: Path, out: Path) -> SealgateError:
    with pytest.raises(SealgateError) as found:
        make(recipe, out)
    return found.value


def weights(student: torch.nn.Module, *_: object) -> bytes:
    """A stand-in for a graph, whose export takes longer than all that comes before."""
    return save(student.state_dict())


def without_graphs(patch: pytest.MonkeyPatch) -> None:
    for name in EXPORTERS:
        patch.setattr(finishing, name, weights)
