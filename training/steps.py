"""What each kind of step of a recipe does to a student."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from sealgate.reasons import Reason, Refusal
from training.descent import Corpus, Keeping, Watch, descend
from training.devices import Devices
from training.distillation import AdaptiveDistillation, Distillation, Labels
from training.encoder import TextClassifier
from training.recipe_step import HARDEN, PRIVATE, QUANTIZE, TRAIN, Step
from training.watching import Watching

Descend = Callable[[nn.Module, nn.Module, Corpus, Step, int, Watch, Keeping | None], None]


def follow(
    step: Step,
    student: nn.Module,
    corpus: Corpus,
    seed: int,
    watching: Callable[[nn.Module], Watch],
    keeping: Keeping | None,
    train: Descend = descend,
) -> Mapping[str, Any] | None:
    """Train `student` in place; returns the privacy spent, of a private step.

    `watching` gives who follows the training of a module, the student or its rounded form; `train`
    is who descends in the steps train and distil.

    Raises Refusal: RECIPE_INVALID, LOSS_NOT_FINITE, STORAGE_FULL.
    """
    spent = _follow(step, student, corpus, seed, watching, keeping, train)
    if not all(bool(each.isfinite().all()) for each in student.parameters()):
        # The last descent comes behind the last loss.
        raise Refusal(Reason.LOSS_NOT_FINITE, "the last descent left weights that are no numbers")
    return spent


def _follow(
    step: Step,
    student: nn.Module,
    corpus: Corpus,
    seed: int,
    watching: Callable[[nn.Module], Watch],
    keeping: Keeping | None,
    train: Descend,
) -> Mapping[str, Any] | None:
    if step.kind == PRIVATE:
        from training.privacy import descend_privately

        return descend_privately(student, corpus, step, watching(student)).encode()
    if step.kind == HARDEN:
        from training.hardening import Hardened

        hardened = Hardened(step, student)
        train(student, hardened, corpus.labelled(), step, seed, watching(student), keeping)
        hardened.take_mean(student)
        return None
    objective = _objective(step, student, corpus)
    rows = corpus.labelled() if isinstance(objective, Labels) else corpus
    if step.kind == QUANTIZE:
        from training import quantization

        rounded = quantization.prepare(student, corpus.rows.x, step.bits)
        descend(rounded, objective, rows, step, seed, watching(rounded), keeping)
        quantization.take_weights(student, rounded)
        return None
    if isinstance(student, TextClassifier):
        student.checkpointed = step.checkpointing
    train(student, objective, rows, step, seed, watching(student), keeping)
    return None


def descent_over(devices: Devices, watching: Watching) -> Descend:
    """Who descends: this process, or several."""
    if devices.processes == 1:
        return descend
    # Takes a while to import, and most runs are of one process.
    from training.ranks import Together

    return Together(devices, watching)


def _objective(step: Step, student: nn.Module, corpus: Corpus) -> nn.Module:
    """What the step trains to: a teacher's word counts wherever there is one."""
    told = corpus.rows
    if step.kind == TRAIN or not corpus.taught:
        return Labels()
    widths = None
    if step.hidden:
        if told.vectors is None:
            raise Refusal(Reason.RECIPE_INVALID, "this teacher shows no hidden vectors")
        widths = (student.head.in_features, told.vectors.shape[1])
    return (AdaptiveDistillation if step.adaptive else Distillation)(step, widths)
