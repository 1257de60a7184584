"""A client's rows are checked against invitation and recipe before the server hears of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from sealgate.reasons import Reason, SealgateError
from tests.support.builders.training.federated_recipes import FEDERATED, PERCEPTRON, written
from training.federated.enrolment import FederationInvitation, RowShape
from training.federated.shards import Shard, check_shard, read_recipe_of, read_shard
from training.recipe.federated import FederatedRecipe

ROWS = RowShape((4,), 3, 0.0, 1.0)
X = np.linspace(0, 1, 48, dtype=np.float32).reshape(12, 4)
Y = np.arange(12, dtype=np.int64) % 3
PRIVATE = "[private]\nepsilon = {}\ndelta = 1e-3\nnoise = 1.5\n"


def file_of(folder: Path, **tensors: np.ndarray) -> Path:
    path = folder / "rows.safetensors"
    save_file(tensors, path)
    return path


def test_rows_are_read_and_written(tmp_path: Path) -> None:
    shard = read_shard(file_of(tmp_path, x=X, y=Y), ROWS, seed=5)
    assert (shard.seed, shard.x.tolist(), shard.y.tolist()) == (5, X.tolist(), Y.tolist())
    (tmp_path / "again").write_bytes(shard.encode())
    assert read_shard(tmp_path / "again", ROWS, seed=5).x.tolist() == X.tolist()


def one_changed(to: float) -> np.ndarray:
    x = X.copy()
    x[3, 1] = to
    return x


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"x": X},
        {"x": X, "y": Y, "z": Y},
        {"x": X.astype(np.float64), "y": Y},
        {"x": X, "y": Y.astype(np.int32)},
        {"x": X[:, :3].copy(), "y": Y},
        {"x": X, "y": Y[:11]},
        {"x": X[:0], "y": Y[:0]},
        {"x": one_changed(1.01), "y": Y},
        {"x": one_changed(-0.01), "y": Y},
        {"x": one_changed(np.nan), "y": Y},
        {"x": X, "y": Y + 1},
        {"x": X, "y": Y - 1},
    ],
)
def test_other_rows_are_refused(tmp_path: Path, tensors: dict[str, Any]) -> None:
    path = file_of(tmp_path, **tensors)
    with pytest.raises(SealgateError) as refused:
        read_shard(path, ROWS, seed=1)
    assert refused.value.reason is Reason.TRAINING_DATA


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"pickled")
    for path in (tmp_path / "rows", tmp_path, tmp_path / "missing"):
        with pytest.raises(SealgateError) as refused:
            read_shard(path, ROWS, seed=1)
        assert refused.value.reason is Reason.TRAINING_DATA


def asked(folder: Path, *more: str) -> FederatedRecipe:
    return FederatedRecipe.read(written(folder, PERCEPTRON, FEDERATED + "rows = 12\n", *more))


def reason(shard: Shard, recipe: FederatedRecipe) -> Reason:
    with pytest.raises(SealgateError) as refused:
        check_shard(shard, recipe)
    return refused.value.reason


def test_fewer_rows_than_the_recipe_asks_for_are_refused(tmp_path: Path) -> None:
    check_shard(Shard(X, Y, 1), asked(tmp_path))
    assert reason(Shard(X[:11], Y[:11], 1), asked(tmp_path)) is Reason.TRAINING_DATA


def test_a_budget_that_not_all_rounds_fit_is_refused(tmp_path: Path) -> None:
    shard = Shard(X, Y, 1)
    check_shard(shard, asked(tmp_path, PRIVATE.format(100.0)))
    assert reason(shard, asked(tmp_path, PRIVATE.format(0.5))) is Reason.RECIPE_INVALID


def test_the_recipe_is_the_invitations(tmp_path: Path) -> None:
    text = written(tmp_path).read_text()
    until = datetime(2026, 11, 29, tzinfo=UTC)
    invitation = FederationInvitation("192.0.2.1:1", "", "", text, ROWS, until)
    assert read_recipe_of(invitation) == FederatedRecipe.read(written(tmp_path))
    with pytest.raises(SealgateError) as refused:
        read_recipe_of(FederationInvitation("192.0.2.1:1", "", "", "[other]", ROWS, until))
    assert refused.value.reason is Reason.RECIPE_INVALID
