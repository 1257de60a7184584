"""Weights that are NaN or infinite after the last step are neither exported nor summed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.builders.training.federated_recipes import written
from training.federated.participant import FederatedParticipant, network, weights_of
from training.models.students import Perceptron
from training.recipe.federated import FederatedRecipe
from training.recipe.sections import TRAIN, RecipeStep
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch
from training.steps.runner import follow


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_non_finite_weights_are_not_exported(value: float) -> None:
    def spoil(student: torch.nn.Module, *_: object) -> None:
        with torch.no_grad():
            student.get_parameter("head.bias")[1] = value

    rows = TaughtRows(TrainingBatch(torch.rand(4, 6), torch.tensor([0, 1, 0, 1])))
    with refused(Reason.LOSS_NOT_FINITE):
        follow(
            RecipeStep(TRAIN),
            Perceptron(6, 4, 1, 2),
            rows,
            1,
            lambda _: lambda _: None,
            None,
            spoil,
        )


def test_non_finite_weights_are_not_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = FederatedRecipe.read(written(tmp_path))
    x, y = np.zeros((8, 64), np.float32), np.arange(8)
    participant = FederatedParticipant(asked, x, y, 10, seed=1)

    def spoil(self: FederatedParticipant, _: int) -> None:
        with torch.no_grad():
            next(self._student.parameters())[0, 0] = torch.nan

    monkeypatch.setattr(FederatedParticipant, "descend", spoil)
    with refused(Reason.LOSS_NOT_FINITE):
        participant.update(weights_of(network(asked, (64,), 10)))
