"""Networks whose answers no change within a bound turns, and the proof of it."""

import pytest
import torch
from torch import nn

from demo import datasets
from training.models.students import Convolution, Perceptron, accuracy
from training.recipe.sections import CERTIFY, RecipeStep
from training.steps.certification import certified, least_leads
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch
from training.steps.hardening import by_pgd
from training.steps.runner import follow

PART = datasets.digits().slices["train"]
X, Y = torch.from_numpy(PART.x), torch.from_numpy(PART.y)
SIZE = 0.05
NETWORKS = [
    lambda: Perceptron(64, 24, 3, 10),
    lambda: Convolution((1, 8, 8), 8, 2, 10),
    lambda: Convolution((1, 8, 8), 8, 2, 10, strides=True),
]


def leads(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    logits = net.answers(x)[1]
    return logits.gather(1, y[:, None]) - logits


@pytest.mark.parametrize("make", NETWORKS, ids=["perceptron", "convolution", "strides"])
def test_no_change_within_the_bound_leads_by_less(make) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = make().eval().requires_grad_(False)
    rows, y = X[:40], Y[:40]
    rows = rows.reshape(-1, 1, 8, 8) if isinstance(net, Convolution) else rows
    least = least_leads(net, rows, y, SIZE)
    for moved in (rows, by_pgd(net, rows, y, SIZE, 10), rows - SIZE, rows + SIZE):
        assert (leads(net, moved.clamp(0, 1), y) >= least - 1e-5).all()


def test_the_bound_of_one_layer_is_reached() -> None:
    torch.manual_seed(0)
    net = Perceptron(64, 24, 1, 10).eval().requires_grad_(False)
    # Without a hidden layer the worst change goes to a corner.
    net.body, net.head = nn.Sequential(nn.Flatten()), nn.Linear(64, 10)
    least = least_leads(net, X[:1], Y[:1], SIZE)
    for other in range(10):
        way = net.head.weight[Y[0]] - net.head.weight[other]
        worst = (X[:1] - SIZE * way.sign()).clamp(0, 1)
        assert torch.allclose(leads(net, worst, Y[:1])[0, other], least[0, other], atol=1e-5)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    torch.manual_seed(1)
    net = Perceptron(64, 48, 2, 10)
    step = RecipeStep(CERTIFY, epochs=30, learning_rate=4e-3, attack=SIZE)
    follow(step, net, TaughtRows(TrainingBatch(X, Y)), 1, lambda _: lambda _: None, None)
    return net.eval()


def test_what_is_trained_for_it_can_be_certified(trained: nn.Module) -> None:
    assert accuracy(trained, X, Y) > 0.9
    assert certified(trained, X, Y, SIZE).float().mean() > 0.5


def test_an_attack_turns_no_certified_row(trained: nn.Module) -> None:
    held = certified(trained, X, Y, SIZE)
    moved = by_pgd(trained, X, Y, 2 * SIZE, 20)
    turned = trained(moved).argmax(1) != Y
    # The attack works, only beyond the bound.
    assert (turned & held).any()
    within = by_pgd(trained, X, Y, SIZE, 20)
    assert not ((trained(within).argmax(1) != Y) & held).any()


def test_a_row_that_is_answered_wrongly_is_not_certified(trained: nn.Module) -> None:
    assert not certified(trained, X[:20], (Y[:20] + 1) % 10, 0.0).any()
