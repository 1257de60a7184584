"""Stochastic gradient descent with accelerate, which continues after a kill as if uninterrupted.

The order of the rows follows from seed and epoch, and a checkpoint holds weights, optimizer,
schedule and the generators' states. It is written aside and renamed, so it is complete or absent.
Checkpoints belong to the run, in a folder of its owner; nothing else is ever loaded from there.

Several processes may share the work (`training.steps.ranks`): each descends on its part of each
batch, or with its part of the weights; the `StepEngine` decides.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import nn

from sealgate.reasons import Reason, SealgateError
from training.data import NO_LABEL, storing
from training.models.students import device_of
from training.recipe.sections import RecipeStep
from training.steps.distillation import TrainingBatch

STEEPEST = 1.0
_LONGEST_WARM_UP = 0.1


@dataclass(frozen=True, slots=True)
class StepProgress:
    """The position within a recipe's step: `done` of `total` steps, and the last loss."""

    done: int
    total: int
    loss: float
    seconds_left: float


Watch = Callable[[StepProgress], None]


@dataclass(frozen=True, slots=True)
class TaughtRows:
    """All rows of the train slice, with what the teacher says of each; see `TrainingBatch`."""

    rows: TrainingBatch

    def __len__(self) -> int:
        return len(self.rows.y)

    @property
    def taught(self) -> bool:
        """Whether a teacher has something to say of the rows."""
        return self.rows.logits is not None

    @property
    def vector_width(self) -> int | None:
        """How wide the teacher's hidden vectors are; None where it shows none."""
        return None if self.rows.vectors is None else self.rows.vectors.shape[1]

    def take(self, places: torch.Tensor) -> TrainingBatch:
        """The rows at `places` [n]; tokens are cut to the longest."""
        every = self.rows
        x = every.x[places]
        if x.dtype == torch.int64:
            x = x[:, : max(int((x >= 0).sum(1).max()), 2)]
        told, vectors = (None if v is None else v[places] for v in (every.logits, every.vectors))
        return TrainingBatch(x, every.y[places], told, vectors)

    def labelled(self) -> "TaughtRows":
        """The rows that have a label."""
        return TaughtRows(self.take(torch.nonzero(self.rows.y != NO_LABEL)[:, 0]))


@dataclass(frozen=True, slots=True)
class CheckpointPlan:
    """Where checkpoints are written, and after how many steps."""

    folder: Path
    every: int


class StudentObjective(nn.Module):
    """A student under its objective, as one function of a batch."""

    def __init__(self, student: nn.Module, objective: nn.Module) -> None:
        super().__init__()
        self.student, self.objective = student, objective

    def forward(self, batch: TrainingBatch, progress: float) -> torch.Tensor:
        """The loss; `progress` is the share of all steps that are done."""
        loss: torch.Tensor = self.objective(self.student, batch, progress)
        return loss


class StepEngine(Protocol):
    """This process's work in each step, alone or as one of several."""

    def prepare(
        self, whole: StudentObjective, optimizer: Any, schedule: Any
    ) -> tuple[Any, Any, Any]:
        """The module to call, the optimizer to step, and the schedule to step behind it, in their
        place.
        """
        ...

    def share(self, places: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Which rows of a batch are this process's, and what its mean loss on them counts, so that
        the mean over all processes is the batch's.
        """
        ...

    def mean(self, loss: torch.Tensor) -> float:
        """Over all processes."""
        ...

    def backward(self, loss: torch.Tensor, whole: nn.Module) -> None:
        """Leave gradients of the whole batch, clipped."""
        ...

    def keep(self, folder: Path, done: int) -> None:
        """Write down where the run stands, whole or not at all. Raises STORAGE_FULL."""
        ...

    def resume(self, folder: Path) -> None:
        """Go on from what was written there."""
        ...


class AccelerateEngine:
    """The engine with accelerate: one process, or one of several that take a part of every batch
    each (DistributedDataParallel).
    """

    def __init__(self) -> None:
        # The schedule goes by our steps, whatever the number of processes.
        # Modules stay on the device where they are: accelerate would choose another.
        self._accelerator = Accelerator(
            cpu=True, device_placement=False, step_scheduler_with_optimizer=False
        )

    def prepare(
        self, whole: StudentObjective, optimizer: Any, schedule: Any
    ) -> tuple[Any, Any, Any]:
        prepared: tuple[Any, Any, Any] = self._accelerator.prepare(whole, optimizer, schedule)
        return prepared

    def share(self, places: torch.Tensor) -> tuple[torch.Tensor, float]:
        processes = self._accelerator.num_processes
        if processes == 1 or len(places) < processes:
            # So few rows are computed by all.
            return places, 1.0
        mine = places[self._accelerator.process_index :: processes]
        return mine, processes * len(mine) / len(places)

    def mean(self, loss: torch.Tensor) -> float:
        return float(self._accelerator.reduce(loss.detach().clone(), "mean").item())

    def backward(self, loss: torch.Tensor, whole: nn.Module) -> None:
        self._accelerator.backward(loss)
        self._accelerator.clip_grad_norm_(whole.parameters(), STEEPEST)

    def keep(self, folder: Path, done: int) -> None:
        keep_checkpoint(self._accelerator, folder, done)

    def resume(self, folder: Path) -> None:
        self._accelerator.load_state(str(folder))


def descend(
    student: nn.Module,
    objective: nn.Module,
    corpus: TaughtRows,
    step: RecipeStep,
    seed: int,
    watch: Watch = lambda _: None,
    keeping: CheckpointPlan | None = None,
    engine: StepEngine | None = None,
) -> None:
    """Train `student` in place by `step`, from the last checkpoint where there is one, on the
    device where it is.

    Raises SealgateError: LOSS_NOT_FINITE; STORAGE_FULL where a checkpoint finds no room.
    """
    each_epoch = math.ceil(len(corpus) / step.batch)
    total = step.epochs * each_epoch
    torch.manual_seed(seed)
    engine = AccelerateEngine() if engine is None else engine
    place = device_of(student)
    whole = StudentObjective(student, objective).to(place)
    ask, optimizer, schedule = engine.prepare(whole, *_optimizer(whole, step, total))
    done = _resume(engine, keeping)
    ask.train()
    began = time.monotonic()
    for at, places in _order(len(corpus), step.batch, seed, done, total):
        mine, counts = engine.share(places)
        with torch.autocast(place.type, torch.bfloat16) if step.bfloat16 else nullcontext():
            loss = ask(corpus.take(mine).to(place), at / total) * counts
        value = engine.mean(loss)
        if not math.isfinite(value):
            raise SealgateError(Reason.LOSS_NOT_FINITE, f"{value} at step {at + 1} of {total}")
        optimizer.zero_grad()
        engine.backward(loss, whole)
        optimizer.step()
        schedule.step()
        spent = time.monotonic() - began
        watch(StepProgress(at + 1, total, value, spent / (at + 1 - done) * (total - at - 1)))
        if keeping is not None and (at + 1) % keeping.every == 0 and at + 1 < total:
            engine.keep(keeping.folder, at + 1)
    ask.eval()


def _optimizer(whole: StudentObjective, step: RecipeStep, total: int) -> tuple[Any, Any]:
    """AdamW, and the schedule of its learning rate over `total` steps: one cycle, warmed up."""
    optimizer = torch.optim.AdamW(
        whole.parameters(), step.learning_rate, weight_decay=step.weight_decay
    )
    warm_up = min(_LONGEST_WARM_UP, 1 / max(step.epochs, 1))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, step.learning_rate, total_steps=total + 1, pct_start=warm_up
    )
    return optimizer, schedule


def _order(
    rows: int, batch: int, seed: int, done: int, total: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """The places of each batch from step `done` on; an epoch's order needs no other epoch."""
    each_epoch = math.ceil(rows / batch)
    epoch, order = -1, torch.empty(0)
    for at in range(done, total):
        if at // each_epoch != epoch:
            epoch = at // each_epoch
            generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            order = torch.randperm(rows, generator=generator)
        start = at % each_epoch * batch
        yield at, order[start : start + batch]


def keep_checkpoint(accelerator: Accelerator, folder: Path, done: int) -> None:
    """Every process writes; the first makes room, and gives the whole its name."""
    made = folder / "new"
    if accelerator.is_main_process:
        begin_checkpoint(made)
    accelerator.wait_for_everyone()
    with storing():
        accelerator.save_state(str(made))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        end_checkpoint(made, done)


def begin_checkpoint(made: Path) -> None:
    """An empty folder, in which a checkpoint is written."""
    shutil.rmtree(made, ignore_errors=True)
    with storing():
        made.mkdir(parents=True, mode=0o700)


def end_checkpoint(made: Path, done: int) -> None:
    """Give a whole checkpoint its name, and remove those before it."""
    older = list(made.parent.glob("step-*"))
    made.rename(made.with_name(f"step-{done:09d}"))
    for each in older:
        shutil.rmtree(each)


def _resume(engine: StepEngine, keeping: CheckpointPlan | None) -> int:
    kept = sorted(keeping.folder.glob("step-*")) if keeping is not None else []
    if not kept:
        return 0
    engine.resume(kept[-1])
    return int(kept[-1].name.removeprefix("step-"))
