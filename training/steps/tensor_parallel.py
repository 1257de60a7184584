"""Tensor parallelism: a student's layers are split over several processes.

torch's `parallelize_module` splits pairs of linear layers: the first by its outputs, the second by
its inputs, so that processes communicate once per pair (Megatron-LM: Shoeybi et al., arXiv
1909.08053). Every process sees every row.
"""

from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)

from sealgate.reasons import Reason, SealgateError
from training.data import storing
from training.models.encoder import TextClassifier
from training.models.students import Perceptron
from training.steps.descent import STEEPEST, StudentObjective, begin_checkpoint, end_checkpoint


def check_split(student: nn.Module, processes: int) -> None:
    """Raises RECIPE_INVALID for a student that does not come apart into so many parts."""
    if isinstance(student, TextClassifier):
        heads = student.head.in_features // student.layers[0].head_width
        if heads % processes:
            raise _invalid(f"{heads} heads are not to be split over {processes} processes")
    elif not isinstance(student, Perceptron):
        raise _invalid("split tensor is for an encoder or a perceptron")
    elif len(_linears(student)) < 2:
        raise _invalid("a perceptron of one layer is not to be split")
    elif student.head.in_features % processes:
        raise _invalid(f"the width is not to be split over {processes} processes")


def split(student: nn.Module, processes: int) -> None:
    """Keep of the student, in place, this process's part."""
    mesh = init_device_mesh("cpu", (processes,))
    parallelize_module(student, mesh, _plan(student))


def _plan(student: nn.Module) -> dict[str, ParallelStyle]:
    gives, takes = ColwiseParallel(), RowwiseParallel()
    if isinstance(student, TextClassifier):
        plan: dict[str, ParallelStyle] = {}
        for at in range(len(student.layers)):
            plan |= {f"layers.{at}.{part}": gives for part in ("query", "key", "value", "inner")}
            plan |= {f"layers.{at}.{part}": takes for part in ("mixed", "outer")}
        return plan
    # Of an odd number the last stays whole.
    paired = zip(_linears(student), cycle((gives, takes)), strict=False)
    return dict(list(paired)[: len(_linears(student)) // 2 * 2])


def _linears(student: nn.Module) -> list[str]:
    parts = enumerate(student.body)
    return [f"body.{at}" for at, part in parts if isinstance(part, nn.Linear)]


def gathered(module: nn.Module) -> dict[str, torch.Tensor]:
    """All of its state, at every process."""
    return {name: _full(value).detach() for name, value in module.state_dict().items()}


class TensorParallelEngine:
    """The engine of a process that holds a part of the student: see
    `training.steps.descent.StepEngine`.
    """

    def prepare(
        self, whole: StudentObjective, optimizer: Any, schedule: Any
    ) -> tuple[Any, Any, Any]:
        self._whole, self._optimizer, self._schedule = whole, optimizer, schedule
        return whole, optimizer, schedule

    def share(self, places: torch.Tensor) -> tuple[torch.Tensor, float]:
        return places, 1.0

    def mean(self, loss: torch.Tensor) -> float:
        return float(loss.item())

    def backward(self, loss: torch.Tensor, whole: nn.Module) -> None:
        loss.backward()
        found = [each for each in whole.parameters() if each.grad is not None]
        # Parts and wholes do not mix in one call of torch's.
        norms = torch.stack([_full(each.grad.norm()) for each in found])
        nn.utils.clip_grads_with_norm_(found, STEEPEST, norms.norm(), foreach=False)

    def keep(self, folder: Path, done: int) -> None:
        made = folder / "new"
        first = distributed.get_rank() == 0
        if first:
            begin_checkpoint(made)
        distributed.barrier()
        with storing():
            checkpoint.save(self._state(), checkpoint_id=made)
        distributed.barrier()
        if first:
            end_checkpoint(made, done)

    def resume(self, folder: Path) -> None:
        state = self._state()
        checkpoint.load(state, checkpoint_id=folder)
        set_state_dict(
            self._whole,
            self._optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
        self._schedule.load_state_dict(state["schedule"])

    def _state(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self._whole, self._optimizer)
        return {"model": model, "optimizer": optimizer, "schedule": self._schedule.state_dict()}


def _full(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _invalid(detail: str) -> SealgateError:
    return SealgateError(Reason.RECIPE_INVALID, detail)
