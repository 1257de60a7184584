"""The server judges weights by its own rows alone."""

from pathlib import Path

import numpy as np
import torch
from sklearn import datasets

from tests.support.builders.training.federated_recipes import written
from training.federated.participant import FederatedParticipant, network, weights_of
from training.federated.shards import Shard, TrialLoss
from training.recipe.federated import FederatedRecipe

DIGITS = datasets.load_digits()
X, Y = (DIGITS.data / 16).astype(np.float32), DIGITS.target.astype(np.int64)


def test_an_honest_update_lowers_the_loss_and_a_turned_one_raises_it(tmp_path: Path) -> None:
    asked = FederatedRecipe.read(written(tmp_path))
    torch.manual_seed(1)
    weights = weights_of(network(asked, (64,), 10))
    update = FederatedParticipant(asked, X[:400], Y[:400], 10, seed=1).update(weights)
    loss = TrialLoss(asked, Shard(X[400:600], Y[400:600], 0), 10)
    start = loss(weights)
    assert np.isclose(start, np.log(10), atol=0.2)
    assert loss(weights + update) < start < loss(weights - update)
    # It keeps nothing of what it has tried.
    assert loss(weights) == start
    assert loss(weights * np.float32(np.inf)) == np.inf
