"""Training objectives: labels, and distillation from a teacher.

A teacher's logits are softened by a temperature (Hinton et al., arXiv 1503.02531); optionally its
hidden vectors are matched as well (Romero et al., arXiv 1412.6550).

    loss = (1 - w) * cross-entropy to the label + w * T^2 * KL(teacher at T || student at T)
           + hidden * distance of the directions of projected student and teacher vectors

For a row without a label, w is 1 and the first term is dropped.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn import functional

from training.data import NO_LABEL
from training.recipe.sections import RecipeStep

# How fast the running gap follows, a step; and how far one row may weigh above or below another.
_PACE = 0.05
_LEAST, _MOST = 0.5, 2.0


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Rows x [n, ...], classes y int64 [n] (NO_LABEL: none); the teacher's logits [n, C] and
    vectors [n, W], where there is one.
    """

    x: torch.Tensor
    y: torch.Tensor
    logits: torch.Tensor | None = None
    vectors: torch.Tensor | None = None

    def to(self, device: torch.device) -> "TrainingBatch":
        """The same on a device."""
        told, vectors = (None if v is None else v.to(device) for v in (self.logits, self.vectors))
        return TrainingBatch(self.x.to(device), self.y.to(device), told, vectors)


class LabelLoss(nn.Module):
    """The cross-entropy to the labels; rows without one do not count."""

    def forward(self, student: Any, batch: TrainingBatch, progress: float) -> torch.Tensor:
        """The loss; `progress` is the share of all steps that are done."""
        logits = student.answers(batch.x)[1].float()
        if not (batch.y != NO_LABEL).any():
            return logits.sum() * 0
        return functional.cross_entropy(logits, batch.y, ignore_index=NO_LABEL)


class Distillation(nn.Module):
    """The loss above at a fixed weight and temperature.

    `widths` are those of the student's and the teacher's vectors, where `step.hidden` asks for it.
    """

    def __init__(self, step: RecipeStep, widths: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.step = step
        self.bridge = nn.Linear(*widths, bias=False) if widths and step.hidden else None

    def forward(self, student: Any, batch: TrainingBatch, progress: float) -> torch.Tensor:
        """The loss; `progress` is the share of all steps that are done."""
        # Products may be in bfloat16, which is too coarse for a loss.
        vectors, logits = (each.float() for each in student.answers(batch.x))
        teacher = _present(batch.logits)
        weight, temperature, share = self.settings(logits.detach(), teacher, batch.y, progress)
        soft = temperature**2 * gap(teacher, logits, temperature)
        hard = functional.cross_entropy(logits, batch.y, ignore_index=NO_LABEL, reduction="none")
        weight = torch.where(batch.y == NO_LABEL, torch.ones_like(weight), weight)
        loss = (share * (weight * soft + (1 - weight) * hard)).mean()
        if self.bridge is not None:
            near = functional.cosine_similarity(self.bridge(vectors), _present(batch.vectors))
            loss = loss + self.step.hidden * (1 - near).mean()
        return loss

    def settings(
        self, logits: torch.Tensor, teacher: torch.Tensor, y: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The teacher's weight, the temperature and the share of each row, [n]."""
        one = logits.new_ones(len(logits))
        return one * self.step.weight, one * self.step.temperature, one


class AdaptiveDistillation(Distillation):
    """Weight and temperature follow the student's gap, for each row and over time.

    1. Over time: the temperature falls from `step.temperature` towards 1 with the running gap to
       the teacher, which is measured at temperature 1 and compared with where it began (annealing:
       Jafari et al., arXiv 2104.07163).
    2. For each row with a label: the teacher's weight is `step.weight` times the probability that
       it gives the label, so that where it errs, the label counts.
    3. For each row: a share that grows with the row's gap, from half to twice the mean.
    """

    first: torch.Tensor
    running: torch.Tensor

    def __init__(self, step: RecipeStep, widths: tuple[int, int] | None = None) -> None:
        super().__init__(step, widths)
        # Buffers, so that a run continued after a kill keeps them.
        self.register_buffer("first", torch.zeros(()))
        self.register_buffer("running", torch.zeros(()))

    def settings(
        self, logits: torch.Tensor, teacher: torch.Tensor, y: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The teacher's weight, the temperature and the share of each row, [n]."""
        one = logits.new_ones(len(logits))
        # Between equals it may come out just below nothing.
        gaps = gap(teacher, logits, one).clamp(min=0)
        self._follow(_mean(gaps))
        # 1.
        left = (self.running / self.first.clamp(min=1e-9)).clamp(0, 1)
        temperature = one * (1 + (self.step.temperature - 1) * left)
        # 2.
        told = functional.softmax(teacher, 1).gather(1, y.clamp(min=0)[:, None])[:, 0]
        # 3.
        share = (gaps / _mean(gaps).clamp(min=1e-9)).sqrt().clamp(_LEAST, _MOST)
        return self.step.weight * told, temperature, share / _mean(share)

    def _follow(self, gap_now: torch.Tensor) -> None:
        if self.first == 0:
            self.first.copy_(gap_now)
            self.running.copy_(gap_now)
        self.running.lerp_(gap_now, _PACE)


def _mean(values: torch.Tensor) -> torch.Tensor:
    """Over the rows [n] of a batch, those at other processes included."""
    if not distributed.is_initialized():
        return values.mean()
    told = torch.stack((values.sum(), values.new_tensor(float(len(values)))))
    distributed.all_reduce(told)
    return told[0] / told[1]


def gap(teacher: torch.Tensor, student: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student) of each row [n], both at the row's temperature [n]."""
    scale = temperature[:, None]
    theirs = functional.log_softmax(teacher / scale, 1)
    ours = functional.log_softmax(student / scale, 1)
    return functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)


def _present(value: torch.Tensor | None) -> torch.Tensor:
    if value is None:
        raise ValueError("the teacher has not said this of the rows")
    return value
