"""The privacy report states the sampling rate that was used."""

import warnings

import pytest
import torch
from opacus.accountants import RDPAccountant

from training.models.students import Perceptron
from training.recipe.sections import PRIVATE, RecipeStep
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch
from training.steps.privacy import PrivacySpent, descend_privately, spent

_STEP = RecipeStep(PRIVATE, epochs=3, batch=40, noise=2.0, delta=1e-3)


def _accountants(told: PrivacySpent) -> float:
    accountant = RDPAccountant()
    accountant.history = [(told.noise, told.sampling_rate, told.steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(told.delta))


def test_the_spent_epsilon_follows_from_the_report() -> None:
    x, y = torch.rand(100, 6), torch.arange(100) % 2
    told = descend_privately(Perceptron(6, 4, 1, 2), TaughtRows(TrainingBatch(x, y)), _STEP)
    assert told.epsilon == pytest.approx(_accountants(told))
    assert (told.sampling_rate, told.steps) == (pytest.approx(1 / 3), 9)
    assert spent(_STEP, len(y)) == told
