"""A federated client's round: training, its update, and its privacy budget."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import datasets

from sealgate.reasons import Reason, SealgateError
from tests.support.builders.training.federated_recipes import FEDERATED, PERCEPTRON, written
from training.data import read_weights, write_weights
from training.federated.participant import FederatedParticipant, network, set_weights, weights_of
from training.models.students import accuracy
from training.recipe.federated import FederatedRecipe

DIGITS = datasets.load_digits()
X, Y = (DIGITS.data / 16).astype(np.float32), DIGITS.target.astype(np.int64)
TIGHT = "[private]\nepsilon = {}\ndelta = 1e-3\nnoise = 1.5\n"


def recipe(folder: Path, *more: str) -> FederatedRecipe:
    return FederatedRecipe.read(written(folder, PERCEPTRON, FEDERATED, *more))


def start(asked: FederatedRecipe) -> np.ndarray:
    torch.manual_seed(1)
    return weights_of(network(asked, (64,), 10))


def test_its_update_is_what_training_added(tmp_path: Path) -> None:
    asked = recipe(tmp_path)
    weights = start(asked)
    kept = weights.copy()
    update = FederatedParticipant(asked, X[:400], Y[:400], 10, seed=1).update(weights)
    assert np.array_equal(weights, kept)
    assert update.shape == weights.shape == (64 * 32 + 32 + 32 * 32 + 32 + 32 * 10 + 10,)
    student = network(asked, (64,), 10)
    set_weights(student, weights)
    before = accuracy(student, *map(torch.from_numpy, (X[400:], Y[400:])))
    set_weights(student, weights + update)
    assert accuracy(student, *map(torch.from_numpy, (X[400:], Y[400:]))) > before + 0.3


def test_a_loss_that_is_no_number_is_refused(tmp_path: Path) -> None:
    asked = recipe(tmp_path)
    weights = start(asked) * np.float32(np.inf)
    with pytest.raises(SealgateError) as refused:
        FederatedParticipant(asked, X[:20], Y[:20], 10, seed=1).update(weights)
    assert refused.value.reason is Reason.LOSS_NOT_FINITE


def test_a_private_one_stops_at_its_budget(tmp_path: Path) -> None:
    asked = recipe(tmp_path, TIGHT.format("2.5"))
    participant = FederatedParticipant(asked, X[:100], Y[:100], 10, seed=1)
    weights, spent = start(asked), []

    def go_on() -> None:
        nonlocal weights
        for _ in range(100):
            weights = weights + participant.update(weights)
            spent.append(participant.spent() or {})

    with pytest.raises(SealgateError) as refused:
        go_on()
    assert refused.value.reason is Reason.RECIPE_INVALID
    epsilons = [each["epsilon"] for each in spent]
    assert epsilons
    assert epsilons == sorted(epsilons)
    assert epsilons[-1] <= 2.5
    # Two passes a round, of seven batches each.
    assert spent[-1]["steps"] == len(spent) * 2 * 7


def test_others_spend_nothing(tmp_path: Path) -> None:
    participant = FederatedParticipant(recipe(tmp_path), X[:100], Y[:100], 10, seed=1)
    assert participant.spent() is None


def test_weights_are_the_same_from_a_file(tmp_path: Path) -> None:
    weights = start(recipe(tmp_path))
    write_weights(tmp_path / "weights.safetensors", weights)
    assert np.array_equal(read_weights(tmp_path / "weights.safetensors"), weights)
