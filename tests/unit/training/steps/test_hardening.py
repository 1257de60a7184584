"""Networks that learn from rows which an attack has moved."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from demo import datasets
from training.models.students import Perceptron, accuracy
from training.recipe.sections import HARDEN, TRAIN, RecipeStep
from training.steps import descent
from training.steps.descent import CheckpointPlan, TaughtRows, descend
from training.steps.distillation import TrainingBatch
from training.steps.hardening import AdversarialLoss, by_pgd, varied
from training.steps.runner import follow

PART = datasets.digits().slices["train"]
X, Y = torch.from_numpy(PART.x), torch.from_numpy(PART.y)
SIZE = 0.1


def made(step: RecipeStep) -> nn.Module:
    torch.manual_seed(1)
    net = Perceptron(64, 48, 2, 10)
    follow(step, net, TaughtRows(TrainingBatch(X, Y)), 1, lambda _: lambda _: None, None)
    return net


def step(kind: str, **changed: float) -> RecipeStep:
    settings = {"epochs": 20, "learning_rate": 4e-3}
    return RecipeStep(kind, **(settings | changed))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain() -> nn.Module:
    return made(step(TRAIN))


def test_rows_are_moved_within_bound_and_domain_to_where_the_network_errs_more(
    plain: nn.Module,
) -> None:
    moved = by_pgd(plain, X, Y, SIZE, 7)
    assert (moved - X).abs().max() <= SIZE + 1e-6
    assert 0 <= moved.min() <= moved.max() <= 1
    before, after = (
        functional.cross_entropy(plain(each), Y, reduction="none") for each in (X, moved)
    )
    assert (after > before).float().mean() > 0.99


def test_one_step_stays_within_the_bound_too(plain: nn.Module) -> None:
    moved = by_pgd(plain, X, Y, SIZE, 1)
    assert (moved - X).abs().max() <= SIZE + 1e-6


def test_what_is_hardened_gives_way_less(plain: nn.Module) -> None:
    hardened = made(step(HARDEN, attack=SIZE))
    assert accuracy(hardened, X, Y) > 0.92
    held, lost = (accuracy(net, by_pgd(net, X, Y, SIZE, 20), Y) for net in (hardened, plain))
    assert held > lost + 0.2


def test_an_attack_leaves_the_weights_to_learn_and_gives_them_no_gradient() -> None:
    torch.manual_seed(1)
    net = Perceptron(64, 8, 2, 10)
    loss = AdversarialLoss(step(HARDEN), net)(net, TrainingBatch(X[:8], Y[:8]), 1.0)
    assert all(each.requires_grad and each.grad is None for each in net.parameters())
    loss.backward()
    assert all(each.grad is not None for each in net.parameters())


def test_the_bound_grows() -> None:
    torch.manual_seed(1)
    net = Perceptron(64, 8, 2, 10)
    hardened = AdversarialLoss(step(HARDEN, attack=0.5), net)
    shares = (0.0, 0.1, 0.2, 0.3, 1.0)
    losses = [hardened(net, TrainingBatch(X, Y), at).item() for at in shares]
    assert losses[0] == pytest.approx(functional.cross_entropy(net(X), Y).item())
    assert losses[0] < losses[1] < losses[2] < losses[3]
    assert losses[4] == pytest.approx(losses[3], rel=0.01)


def test_what_comes_out_is_a_mean_of_the_weights_on_the_way() -> None:
    net = Perceptron(64, 8, 2, 10)
    hardened = AdversarialLoss(step(HARDEN), net)
    # Ever more slowly away from the first, and in the end a hundredth at a time.
    for value, steps, mean in ((0.0, 1000, 0.0), (1.0, 1, 0.01), (1.0, 99, 1 - 0.99**100)):
        for parameter in net.parameters():
            nn.init.constant_(parameter, value)
        for _ in range(steps):
            hardened(net, TrainingBatch(X[:2], Y[:2]), 0.0)
        taken = Perceptron(64, 8, 2, 10)
        hardened.take_mean(taken)
        found = torch.cat([each.flatten() for each in taken.parameters()])
        assert torch.allclose(found, torch.full_like(found, mean), atol=1e-3)


def test_images_are_shifted_and_turned_a_little_and_stay_images() -> None:
    assert varied(X, 0.0, 0.0) is X
    torch.manual_seed(1)
    moved = varied(X, 1.0, 0.0)
    assert moved.shape == X.shape
    assert 0 <= moved.min() <= moved.max() <= 1
    columns = torch.arange(8.0).repeat(8)
    # A mark in the middle goes no further than asked, and each row elsewhere.
    mark = torch.zeros(400, 1, 8, 8)
    mark[:, :, 3:5, 3:5] = 1
    shifted = varied(mark, 1.0, 0.0)
    assert shifted.shape == mark.shape
    pixels = shifted.flatten(1)
    assert torch.equal(pixels[1::2], mark.flatten(1)[1::2])
    across = ((pixels @ columns) / pixels.sum(1) - 3.5)[::2]
    assert 0.9 < across.abs().max() <= 1 + 1e-4
    assert across.std() == pytest.approx(3**-0.5, abs=0.05)
    bar = torch.zeros(400, 1, 8, 8)
    bar[:, :, :, 3:5] = 1
    assert torch.allclose(varied(bar, 0.0, 1e-3), bar, atol=1e-3)
    assert (varied(bar, 0.0, 30.0) - bar).abs().flatten(1).sum(1).max() > 2


class Killed(Exception):
    pass


def test_a_hardening_that_was_killed_goes_on_to_the_same_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = step(HARDEN, epochs=2, shift=0.5, turn=5.0)

    def run(folder: Path) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        net = Perceptron(64, 16, 2, 10)
        hardened = AdversarialLoss(asked, net)
        corpus = TaughtRows(TrainingBatch(X, Y))
        descend(net, hardened, corpus, asked, 1, lambda _: None, CheckpointPlan(folder, 8))
        hardened.take_mean(net)
        return net.state_dict()

    whole, keep = run(tmp_path / "whole"), descent.keep_checkpoint

    def keep_and_die(*given: object) -> None:
        keep(*given)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(descent, "keep_checkpoint", keep_and_die)
        with pytest.raises(Killed):
            run(tmp_path / "killed")
    again = run(tmp_path / "killed")
    assert all(torch.equal(again[name], value) for name, value in whole.items())
