"""AutoAttack against a model whose nearest row of another class is known."""

import numpy as np
import pytest
import torch

from benchmarks.screening.toolbox import STARTS, auto_attack, parts_of_auto_attack

pytestmark = pytest.mark.slow

CLASSES, SIDE = 10, 4


@pytest.fixture
def model() -> torch.nn.Module:
    """A class for each of the first ten pixels, by which is brightest: a row [n, 16] turns as soon
    as each pixel moved by half of what the brightest is ahead.
    """
    found = torch.nn.Linear(SIDE * SIDE, CLASSES, bias=False)
    with torch.no_grad():
        found.weight.copy_(torch.eye(CLASSES, SIDE * SIDE))
    return found.requires_grad_(False)


def rows(lead: float) -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(CLASSES)
    x = np.full((CLASSES, SIDE * SIDE), 0.4, np.float32)
    x[y, y] += lead
    return x, y


def answers(model: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    return model(torch.from_numpy(x)).argmax(1).numpy()


def test_it_turns_each_row_that_can_be_turned_and_no_other(model: torch.nn.Module) -> None:
    np.random.seed(0)
    for lead, turns in ((0.18, True), (0.22, False)):
        x, y = rows(lead)
        moved = auto_attack(model, x, y, eps=0.1)
        assert np.abs(moved - x).max() <= 0.1 + 1e-6
        assert ((answers(model, moved) != y) == turns).all()


@pytest.mark.parametrize(("part", "least"), [(0, 1), (1, 1), (2, 1), (3, 0.5)])
def test_each_part_turns_them_by_itself(model: torch.nn.Module, part: int, least: float) -> None:
    x, y = rows(0.18)
    images = torch.nn.Sequential(torch.nn.Flatten(), model)
    attack = parts_of_auto_attack(images, 0.1, seed=0)[part]
    moved = attack.perturb(torch.from_numpy(x).reshape(-1, 1, SIDE, SIDE), torch.from_numpy(y))
    assert (images(moved).argmax(1).numpy() != y).mean() >= least
    assert np.abs(moved.detach().numpy().reshape(x.shape) - x).max() <= 0.1 + 1e-6


def test_fab_goes_to_each_other_class_from_five_starts(model: torch.nn.Module) -> None:
    *_, fab, _ = parts_of_auto_attack(model, 0.1, seed=0)
    assert (fab.targeted, fab.n_target_classes, fab.n_restarts) == (True, CLASSES - 1, STARTS)
