"""Stochastic gradient descent on accelerate, which goes on after a kill as if there had been none.

The order of the rows follows from seed and epoch, and a checkpoint holds weights, optimizer,
schedule and the generators' states. It is written aside and renamed, so it is whole or not there.
Checkpoints are the run's own, in a folder of its owner's; nothing else is ever loaded from there.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from sealgate.reasons import Reason, Refusal
from training.distillation import Batch
from training.material import NO_LABEL
from training.recipe import Step
from training.storage import storing

_STEEPEST = 1.0
_LONGEST_WARM_UP = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a step of the recipe stands: `done` of `total` steps, and the last loss."""

    done: int
    total: int
    loss: float
    seconds_left: float


Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Corpus:
    """All rows of the train slice, with what the teacher says of each; see `Batch`."""

    rows: Batch

    def __len__(self) -> int:
        return len(self.rows.y)

    def take(self, places: torch.Tensor) -> Batch:
        """The rows at `places` [n]; tokens are cut to the longest."""
        every = self.rows
        x = every.x[places]
        if x.dtype == torch.int64:
            x = x[:, : max(int((x >= 0).sum(1).max()), 2)]
        told, vectors = (None if v is None else v[places] for v in (every.logits, every.vectors))
        return Batch(x, every.y[places], told, vectors)

    def labelled(self) -> "Corpus":
        """The rows that have a label."""
        return Corpus(self.take(torch.nonzero(self.rows.y != NO_LABEL)[:, 0]))


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where checkpoints go, and after how many steps."""

    folder: Path
    every: int


def descend(
    student: nn.Module,
    objective: nn.Module,
    corpus: Corpus,
    step: Step,
    seed: int,
    watch: Watch = lambda _: None,
    keeping: Keeping | None = None,
) -> None:
    """Train `student` in place by `step`, from the last checkpoint where there is one.

    Raises Refusal: LOSS_NOT_FINITE; STORAGE_FULL where a checkpoint finds no room.
    """
    each_epoch = math.ceil(len(corpus) / step.batch)
    total = step.epochs * each_epoch
    torch.manual_seed(seed)
    accelerator = Accelerator(cpu=True)
    whole = nn.ModuleDict({"student": student, "objective": objective})
    optimizer = torch.optim.AdamW(
        whole.parameters(), step.learning_rate, weight_decay=step.weight_decay
    )
    warm_up = min(_LONGEST_WARM_UP, 1 / max(step.epochs, 1))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, step.learning_rate, total_steps=total + 1, pct_start=warm_up
    )
    whole, optimizer, schedule = accelerator.prepare(whole, optimizer, schedule)
    done = _resume(accelerator, keeping)
    whole.train()
    began = time.monotonic()
    for at, places in _order(len(corpus), step.batch, seed, done, total):
        loss = objective(student, corpus.take(places), at / total)
        value = loss.item()
        if not math.isfinite(value):
            raise Refusal(Reason.LOSS_NOT_FINITE, f"{value} at step {at + 1} of {total}")
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(whole.parameters(), _STEEPEST)
        optimizer.step()
        schedule.step()
        spent = time.monotonic() - began
        watch(Progress(at + 1, total, value, spent / (at + 1 - done) * (total - at - 1)))
        if keeping is not None and (at + 1) % keeping.every == 0 and at + 1 < total:
            _keep(accelerator, keeping.folder, at + 1)
    whole.eval()


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


def _keep(accelerator: Accelerator, folder: Path, done: int) -> None:
    made = folder / "new"
    shutil.rmtree(made, ignore_errors=True)
    with storing():
        made.mkdir(parents=True, mode=0o700)
        accelerator.save_state(str(made))
    older = list(folder.glob("step-*"))
    made.rename(folder / f"step-{done:09d}")
    for each in older:
        shutil.rmtree(each)


def _resume(accelerator: Accelerator, keeping: Keeping | None) -> int:
    kept = sorted(keeping.folder.glob("step-*")) if keeping is not None else []
    if not kept:
        return 0
    accelerator.load_state(str(kept[-1]))
    return int(kept[-1].name.removeprefix("step-"))
