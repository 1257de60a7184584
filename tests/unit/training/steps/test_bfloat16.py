"""Steps that multiply in bfloat16: weights and losses stay float32, and what is learnt the same."""

from dataclasses import replace

import pytest
import torch

from sealgate.settings import ConfigError
from training.models.encoder import EncoderSize, TextClassifier
from training.recipe.sections import HARDEN, TRAIN, RecipeStep
from training.steps.descent import TaughtRows, descend
from training.steps.distillation import LabelLoss, TrainingBatch

STEP = RecipeStep(TRAIN, epochs=8, batch=16, learning_rate=5e-3)


def trained(step: RecipeStep) -> tuple[TextClassifier, float]:
    """A small encoder that learnt which of two words comes first, and its last loss."""
    torch.manual_seed(1)
    student = TextClassifier(EncoderSize(8, 32, 16, 32, 1, 2), 2)
    x = torch.randint(1, 8, (64, 6))
    losses: list[float] = []
    rows = TaughtRows(TrainingBatch(x, (x[:, 0] > 3).long()))
    descend(student, LabelLoss(), rows, step, 1, lambda progress: losses.append(progress.loss))
    return student, losses[-1]


def test_it_learns_the_same_with_weights_in_float32() -> None:
    exact, loss = trained(STEP)
    coarse, near = trained(replace(STEP, bfloat16=True))
    assert {each.dtype for each in coarse.parameters()} == {torch.float32}
    assert near == pytest.approx(loss, abs=0.1)
    assert not torch.equal(coarse.head.weight, exact.head.weight)


def test_a_run_repeats_to_the_bit() -> None:
    step = replace(STEP, bfloat16=True)
    assert torch.equal(trained(step)[0].head.weight, trained(step)[0].head.weight)


def test_other_steps_do_not_have_it() -> None:
    with pytest.raises(ConfigError, match="no setting 'bfloat16'"):
        RecipeStep(HARDEN, bfloat16=True)
