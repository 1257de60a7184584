"""Applies each kind of recipe step to a student."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from inference.runtime.settings import CPU
from sealgate.reasons import Reason, SealgateError
from training.models.encoder import TextClassifier
from training.models.students import vector_width
from training.recipe.sections import (
    CERTIFY,
    HARDEN,
    PRIVATE,
    QUANTIZE,
    TRAIN,
    DevicesSection,
    RecipeStep,
)
from training.steps.descent import CheckpointPlan, TaughtRows, Watch, descend
from training.steps.distillation import AdaptiveDistillation, Distillation, LabelLoss
from training.steps.progress import ProgressRecorder

Descend = Callable[
    [nn.Module, nn.Module, TaughtRows, RecipeStep, int, Watch, CheckpointPlan | None], None
]


def follow(
    step: RecipeStep,
    student: nn.Module,
    corpus: TaughtRows,
    seed: int,
    watching: Callable[[nn.Module], Watch],
    keeping: CheckpointPlan | None,
    train: Descend = descend,
    device: str = CPU,
) -> Mapping[str, Any] | None:
    """Train `student` in place, on torch's `device`, from which it comes back to the CPU; returns
    the privacy spent, of a private step.

    `watching` gives who follows the training of a module, the student or its rounded form; `train`
    is who descends in the steps train and distil.

    Raises SealgateError: RECIPE_INVALID, LOSS_NOT_FINITE, STORAGE_FULL.
    """
    spent = _follow(step, student.to(device), corpus, seed, watching, keeping, train)
    student.to(CPU)
    if not all(bool(each.isfinite().all()) for each in student.parameters()):
        # The last update follows the last loss.
        raise SealgateError(
            Reason.LOSS_NOT_FINITE, "the last descent left weights that are not finite"
        )
    return spent


def _follow(
    step: RecipeStep,
    student: nn.Module,
    corpus: TaughtRows,
    seed: int,
    watching: Callable[[nn.Module], Watch],
    keeping: CheckpointPlan | None,
    train: Descend,
) -> Mapping[str, Any] | None:
    if step.kind == PRIVATE:
        from training.steps.privacy import descend_privately

        return descend_privately(student, corpus, step, watching(student)).encode()
    if step.kind == HARDEN:
        from training.steps.hardening import AdversarialLoss

        hardened = AdversarialLoss(step, student)
        train(student, hardened, corpus.labelled(), step, seed, watching(student), keeping)
        hardened.take_mean(student)
        return None
    if step.kind == CERTIFY:
        from training.steps.certification import CertifiedLoss

        train(
            student, CertifiedLoss(step), corpus.labelled(), step, seed, watching(student), keeping
        )
        return None
    objective = objective_of(step, student, corpus)
    rows = corpus.labelled() if isinstance(objective, LabelLoss) else corpus
    if step.kind == QUANTIZE:
        from training.steps import quantization

        rounded = quantization.prepare(student, corpus.rows.x, step.bits)
        descend(rounded, objective, rows, step, seed, watching(rounded), keeping)
        quantization.take_weights(student, rounded)
        return None
    if isinstance(student, TextClassifier):
        student.checkpointed = step.checkpointing
    train(student, objective, rows, step, seed, watching(student), keeping)
    return None


def descent_over(devices: DevicesSection, watching: ProgressRecorder) -> Descend:
    """The descent: in this process, or in several."""
    if devices.processes == 1:
        return descend
    # Takes a while to import, and most runs are of one process.
    from training.steps.ranks import DistributedEngine

    return DistributedEngine(devices, watching)


def objective_of(step: RecipeStep, student: nn.Module, corpus: TaughtRows) -> nn.Module:
    """The step's objective: a teacher's answers count wherever there are some."""
    if step.kind == TRAIN or not corpus.taught:
        return LabelLoss()
    widths = None
    if step.hidden:
        theirs = corpus.vector_width
        if theirs is None:
            raise SealgateError(Reason.RECIPE_INVALID, "this teacher shows no hidden vectors")
        widths = (vector_width(student), theirs)
    return (AdaptiveDistillation if step.adaptive else Distillation)(step, widths)
