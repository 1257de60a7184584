"""The objectives of distillation."""

import pytest
import torch

from sealgate.reasons import Reason, SealgateError
from training.data import NO_LABEL
from training.models.students import Perceptron, accuracy
from training.recipe.sections import DISTIL, TRAIN, RecipeStep
from training.steps.descent import TaughtRows, descend
from training.steps.distillation import (
    AdaptiveDistillation,
    Distillation,
    LabelLoss,
    TrainingBatch,
    gap,
)

X = torch.rand(240, 6, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > X[:, 1]).long() + (X[:, 2] > X[:, 3]).long()
TOLD = torch.stack([-4.0 * (Y - each).abs() for each in range(3)], 1)
VECTORS = torch.rand(240, 5, generator=torch.Generator().manual_seed(2))
NONE = torch.full_like(Y, NO_LABEL)
ONE = torch.ones(4)


def student() -> Perceptron:
    torch.manual_seed(1)
    return Perceptron(6, 32, 2, 3)


def step(**changed: object) -> RecipeStep:
    settings = {"epochs": 30, "batch": 32, "learning_rate": 0.02}
    return RecipeStep(DISTIL, **(settings | changed))  # type: ignore[arg-type]


def test_the_gap_is_none_between_equals_and_grows() -> None:
    told = TOLD[:4]
    assert torch.allclose(gap(told, told, 2 * ONE), torch.zeros(4), atol=1e-6)
    assert (gap(told, -told, ONE) > gap(told, told / 2, ONE)).all()


def test_the_loss_is_what_hinton_says() -> None:
    net, batch = student(), TrainingBatch(X[:4], Y[:4], TOLD[:4])
    logits = net.answers(X[:4])[1]
    soft = 9 * gap(TOLD[:4], logits, 3 * ONE).mean()
    hard = torch.nn.functional.cross_entropy(logits, Y[:4])
    found = Distillation(step(temperature=3.0, weight=0.7))(net, batch, 0.0)
    assert torch.allclose(found, 0.7 * soft + 0.3 * hard, atol=1e-6)


def test_a_row_without_a_label_follows_the_teacher_alone() -> None:
    net = student()
    soft = gap(TOLD[:4], net.answers(X[:4])[1], ONE).mean()
    found = Distillation(step(temperature=1.0, weight=0.5))(
        net, TrainingBatch(X[:4], NONE[:4], TOLD[:4]), 0.0
    )
    assert torch.allclose(found, soft)
    assert LabelLoss()(net, TrainingBatch(X[:4], NONE[:4]), 0.0) == 0


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_student_learns_from_a_teacher_without_any_label(adaptive: bool) -> None:
    net = student()
    kind = AdaptiveDistillation if adaptive else Distillation
    losses: list[float] = []
    descend(
        net,
        kind(step()),
        TaughtRows(TrainingBatch(X, NONE, TOLD)),
        step(),
        1,
        lambda progress: losses.append(progress.loss),
    )
    assert losses[-1] < losses[0] / 2
    assert accuracy(net, X, Y) > 0.9


def test_hidden_vectors_are_approached() -> None:
    asked = step(hidden=5.0)
    objective = Distillation(asked, (32, 5))
    net = student()

    def near() -> float:
        with torch.no_grad():
            ours = objective.bridge(net.answers(X)[0])
        return float(torch.nn.functional.cosine_similarity(ours, VECTORS).mean())

    before = near()
    descend(net, objective, TaughtRows(TrainingBatch(X, Y, TOLD, VECTORS)), asked, 1)
    assert near() > before + 0.2


def test_adaptive_settings_follow_the_gap() -> None:
    objective = AdaptiveDistillation(step(temperature=4.0, weight=0.9))
    far, near = -TOLD[:4], TOLD[:4] * 0.99
    weight, temperature, share = objective.settings(far, TOLD[:4], Y[:4], 0.0)
    assert torch.allclose(temperature, 4 * ONE)
    assert (weight <= 0.9).all()
    assert torch.allclose(share.mean(), torch.tensor(1.0))
    for _ in range(200):
        _, temperature, _ = objective.settings(near, TOLD[:4], Y[:4], 0.5)
    assert (temperature < 1.1).all()
    # Where the teacher is wrong of a label, the label counts.
    weight, *_ = objective.settings(near, TOLD[:4], (Y[:4] + 1) % 3, 0.5)
    assert (weight < 0.1).all()


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    told = TOLD.clone()
    told[7] = float("nan")
    with pytest.raises(SealgateError) as refused:
        descend(student(), Distillation(step()), TaughtRows(TrainingBatch(X, Y, told)), step(), 1)
    assert refused.value.reason is Reason.LOSS_NOT_FINITE


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    found = []
    for seed in (1, 1, 2):
        net = student()
        descend(
            net, LabelLoss(), TaughtRows(TrainingBatch(X, Y)), RecipeStep(TRAIN, epochs=2), seed
        )
        found.append(net.head.weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_adaptive_settings_are_numbers_between_equals() -> None:
    objective = AdaptiveDistillation(step())
    told = torch.randn(512, 2, generator=torch.Generator().manual_seed(1))
    for scale in (1.0, 1.0 + 1e-7):
        settings = objective.settings(scale * told, told, torch.zeros(512).long(), 0.0)
        assert all(torch.isfinite(each).all() for each in settings)
