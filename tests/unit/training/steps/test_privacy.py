"""Differential privacy: the accountant decides, and the budget holds."""

import warnings

import pytest
import torch
from opacus import PrivacyEngine
from opacus.accountants import RDPAccountant

from sealgate.reasons import Reason, SealgateError
from training.data import NO_LABEL
from training.models.students import Perceptron
from training.recipe.sections import PRIVATE, RecipeStep
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch
from training.steps.privacy import affordable, descend_privately, membership_advantage

pytestmark = pytest.mark.slow

X = torch.rand(200, 6, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > X[:, 1]).long()
DELTA = 1e-3


def accountants(noise: float, rate: float, steps: int) -> float:
    accountant = RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(DELTA))


def step(**changed: object) -> RecipeStep:
    settings = {"epochs": 1000, "batch": 40, "learning_rate": 0.02, "noise": 2.0, "delta": DELTA}
    return RecipeStep(PRIVATE, **(settings | changed))  # type: ignore[arg-type]


def test_training_stops_before_the_budget_is_passed() -> None:
    net = Perceptron(6, 16, 2, 2)
    spent = descend_privately(net, TaughtRows(TrainingBatch(X, Y)), step(epsilon=2.0))
    assert spent.epsilon == pytest.approx(accountants(2.0, 0.2, spent.steps))
    assert spent.epsilon <= 2.0 < accountants(2.0, 0.2, spent.steps + 1)
    # The result is a plain module, to be exported like any other.
    assert set(net.state_dict()) == set(Perceptron(6, 16, 2, 2).state_dict())
    assert not net.training


def test_only_rows_with_a_label_are_read() -> None:
    y = torch.where(torch.arange(200) < 100, Y, NO_LABEL)
    spent = descend_privately(
        Perceptron(6, 16, 2, 2), TaughtRows(TrainingBatch(X, y)), step(epochs=1)
    )
    assert (spent.sampling_rate, spent.steps) == (pytest.approx(1 / 3), 3)


def test_noise_does_not_follow_the_seed() -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        net = Perceptron(6, 16, 2, 2)
        descend_privately(net, TaughtRows(TrainingBatch(X, Y)), step(epochs=1))
        found.append(net.head.weight.detach())
    assert not torch.equal(*found)


def test_a_budget_too_small_for_one_step_is_refused() -> None:
    assert affordable(0.3, 0.2, 0.5, DELTA) == 0
    with pytest.raises(SealgateError) as refused:
        descend_privately(
            Perceptron(6, 16, 2, 2), TaughtRows(TrainingBatch(X, Y)), step(noise=0.3, epsilon=0.5)
        )
    assert refused.value.reason is Reason.RECIPE_INVALID


def test_an_attacker_tells_rows_that_were_learnt_by_heart() -> None:
    torch.manual_seed(1)
    net, y = Perceptron(6, 256, 3, 2), torch.randint(0, 2, (200,))
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(400):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(X[:100]), y[:100]).backward()
        optimizer.step()
    assert membership_advantage(net, (X[:100], y[:100]), (X[100:], y[100:])) > 0.3
    fresh = Perceptron(6, 256, 3, 2)
    assert abs(membership_advantage(fresh, (X[:100], y[:100]), (X[100:], y[100:]))) < 0.25


class _Stop(Exception):
    pass


def test_the_noise_follows_from_no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[torch.Generator] = []

    def make_private(*_: object, noise_generator: torch.Generator, **__: object) -> None:
        used.append(noise_generator)
        raise _Stop

    monkeypatch.setattr(PrivacyEngine, "make_private", make_private)
    rows = TaughtRows(TrainingBatch(torch.rand(8, 6), torch.arange(8) % 2))
    for _ in range(2):
        with pytest.raises(_Stop):
            descend_privately(Perceptron(6, 4, 1, 2), rows, RecipeStep(PRIVATE, batch=4))
    first, second = used
    drawn = torch.randn(1000, generator=first)
    assert not torch.equal(drawn, torch.randn(1000, generator=second))
    assert abs(float(drawn.mean())) < 0.3
    assert 0.7 < float(drawn.std()) < 1.3
    seeded = torch.Generator().manual_seed(first.initial_seed() % (1 << 32))
    assert not torch.equal(drawn, torch.randn(1000, generator=seeded))
