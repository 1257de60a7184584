"""What weights come to on the server's own rows, by which the rule `lowest-loss` chooses groups."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from training.federated.participant import network, set_weights
from training.federated.shards import Shard
from training.models import students
from training.recipe.federated import FederatedRecipe


class TrialLoss:
    """The cross-entropy of weights on `rows`, of `classes`; infinite where it is no number."""

    def __init__(self, asked: FederatedRecipe, rows: Shard, classes: int) -> None:
        self._student = network(asked, rows.x.shape[1:], classes)
        self._x, self._y = torch.from_numpy(rows.x), torch.from_numpy(rows.y)

    def __call__(self, weights: npt.NDArray[np.floating]) -> float:
        set_weights(self._student, weights.astype(np.float32))
        with torch.no_grad():
            logits = students.logits_of(self._student, self._x)
            found = float(functional.cross_entropy(logits, self._y))
        return found if math.isfinite(found) else math.inf
