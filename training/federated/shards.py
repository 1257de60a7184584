"""Rows of clients and whether invitation and recipe allow them, and the loss on a server's own."""

import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch.nn import functional

from sealgate.files import read_regular_file
from sealgate.reasons import Reason, SealgateError
from training.federated.enrolment import FederationInvitation, RowShape
from training.federated.participant import network, private_step, set_weights
from training.models import students
from training.recipe.federated import FederatedRecipe
from training.steps.privacy import spent


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One client's rows x [n, ...] with classes y [n], and the seed that orders them."""

    x: np.ndarray
    y: np.ndarray
    seed: int

    def encode(self) -> bytes:
        """The rows as safetensors."""
        rows = {"x": np.ascontiguousarray(self.x), "y": np.ascontiguousarray(self.y)}
        return bytes(save(rows))


def read_shard(path: Path, rows: RowShape, seed: int) -> Shard:
    """The client's rows, a safetensors file with x float32 [n, ...] and y int64 [n].

    Raises SealgateError(TRAINING_DATA).
    """
    try:
        tensors = load(read_regular_file(path))
    except (SafetensorError, OSError) as error:
        raise _unfit(f"{path} is no safetensors file") from error
    if tensors.keys() != {"x", "y"}:
        raise _unfit(f"{path} has {', '.join(sorted(tensors)) or 'nothing'}, not x and y")
    x, y = tensors["x"], tensors["y"]
    if (x.dtype, y.dtype) != (np.float32, np.int64):
        raise _unfit(f"x is {x.dtype}, not float32, or y is {y.dtype}, not int64")
    if x.shape[1:] != rows.row or y.shape != x.shape[:1] or not y.size:
        raise _unfit(f"x is {x.shape} and y {y.shape}; a row is {rows.row}")
    if not np.isfinite(x).all() or x.min() < rows.least or x.max() > rows.most:
        raise _unfit(f"x leaves the range from {rows.least:g} to {rows.most:g}")
    if y.min() < 0 or y.max() >= rows.classes:
        raise _unfit(f"y leaves the classes from 0 to {rows.classes - 1}")
    return Shard(x, y, seed)


def check_shard(shard: Shard, asked: FederatedRecipe) -> None:
    """Raises SealgateError: TRAINING_DATA for too few rows; RECIPE_INVALID where all rounds spend
    more than the budget.
    """
    least, rounds = asked.federated.rows, asked.federated.rounds
    if len(shard.y) < least:
        raise _unfit(f"{len(shard.y)} rows; the recipe asks each client for {least}")
    step = private_step(asked)
    if step is not None and (found := spent(step, len(shard.y), rounds).epsilon) > step.epsilon:
        detail = f"{rounds} rounds spend epsilon {found:.3g} on {len(shard.y)} rows"
        raise SealgateError(Reason.RECIPE_INVALID, detail)


def read_recipe_of(invitation: FederationInvitation) -> FederatedRecipe:
    """Raises SealgateError(RECIPE_INVALID)."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.toml"
        path.write_text(invitation.recipe, newline="")
        return FederatedRecipe.read(path)


def _unfit(detail: str) -> SealgateError:
    return SealgateError(Reason.TRAINING_DATA, detail)


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
