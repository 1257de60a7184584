"""A step computes on the student's device and no other.

Without a card, torch's device `meta` stands in for one: it computes shapes alone, and refuses to
mix its tensors with those of the CPU.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.fakes.placed_tensors import PlacedTensors
from training.models.encoder import EncoderSize, TextClassifier
from training.models.students import Decoder, Perceptron, device_of, following, logits_of
from training.recipe.sections import DISTIL, HARDEN, TRAIN, RecipeStep
from training.steps.descent import AccelerateEngine, StepProgress, TaughtRows, descend
from training.steps.distillation import (
    AdaptiveDistillation,
    Distillation,
    LabelLoss,
    TrainingBatch,
)
from training.steps.hardening import AdversarialLoss

META = torch.device("meta")
TAUGHT = RecipeStep(DISTIL, epochs=1, batch=4, hidden=0.5)


def rows(count: int = 8) -> TrainingBatch:
    x, y = torch.rand(count, 16), torch.arange(count) % 3
    return TrainingBatch(x, y, torch.rand(count, 3), torch.rand(count, 5))


class Unread(AccelerateEngine):
    """Does not ask for numbers, which `meta` does not have."""

    def mean(self, loss: torch.Tensor) -> float:
        assert loss.device == META
        return 1.0


def test_rows_follow_the_student_to_its_device() -> None:
    student = Perceptron(16, 8, 2, 3).to(META)
    objective = Distillation(TAUGHT, (8, 5))
    seen: list[StepProgress] = []
    descend(student, objective, TaughtRows(rows()), TAUGHT, 1, seen.append, engine=Unread())
    assert [each.done for each in seen] == [1, 2]
    assert device_of(student) == device_of(objective) == META
    with pytest.raises((RuntimeError, NotImplementedError)):
        student(rows().x)


def test_logits_come_back_to_the_cpu() -> None:
    assert logits_of(Perceptron(16, 8, 2, 3), rows().x).device.type == "cpu"
    # Nothing comes back from there.
    with pytest.raises(NotImplementedError, match="meta"):
        logits_of(Perceptron(16, 8, 2, 3).to(META), rows().x)


def encoder() -> nn.Module:
    return TextClassifier(EncoderSize(50, 32, 16, 32, 2, 2), 3)


@pytest.mark.parametrize(
    ("step", "objective"),
    [
        (RecipeStep(TRAIN), lambda step, _: LabelLoss()),
        (RecipeStep(DISTIL), lambda step, _: Distillation(step)),
        (RecipeStep(DISTIL, adaptive=True), lambda step, _: AdaptiveDistillation(step)),
        (RecipeStep(HARDEN, attack_steps=2, shift=1.0, turn=5.0), AdversarialLoss),
    ],
)
def test_objectives_make_nothing_on_a_device_of_their_own(
    step: RecipeStep, objective: Callable[[RecipeStep, nn.Module], nn.Module]
) -> None:
    student = Perceptron(16, 8, 2, 3)
    asked, batch = objective(step, student), rows()
    with PlacedTensors():
        asked(student, batch, 0.5).backward()


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_students_of_texts_make_nothing_on_a_device_of_their_own(kind: str) -> None:
    ids = torch.arange(64).reshape(4, 16) % 50
    student: Any = encoder() if kind == "encoder" else Decoder(50, 32, 16, 2, 2)
    y = torch.arange(4) % 3 if kind == "encoder" else following(ids)
    with PlacedTensors():
        LabelLoss()(student, TrainingBatch(ids, y), 0.5).backward()
