"""Processes that share one step of a recipe.

torchrun's library (`torch.distributed.elastic`) starts and watches them. They meet at a file in the
run's folder and talk with gloo over this machine's loopback only.

1. Weights and rows are written to the folder; each process reads them and descends
   (`training.steps.descent`) with the engine of the recipe's split.
2. Progress and errors come back through a pipe; the weights through the folder.
3. If one process ends before its work does, the others and the step end with PROCESS_LOST. The last
   checkpoint is the point to continue from.
"""

import copy
import logging
import multiprocessing
import shutil
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import torch
from safetensors.torch import load_file, save
from torch import distributed, nn
from torch.distributed.elastic.multiprocessing import (
    DefaultLogsSpecs,
    PContext,
    RunProcsResult,
    start_processes,
)

from sealgate.reasons import Reason, SealgateError
from training.data import write_whole
from training.recipe.sections import TENSOR, DevicesSection, RecipeStep
from training.steps import tensor_parallel
from training.steps.descent import (
    AccelerateEngine,
    CheckpointPlan,
    StepEngine,
    StepProgress,
    StudentObjective,
    TaughtRows,
    Watch,
    descend,
)
from training.steps.distillation import TrainingBatch
from training.steps.progress import measured

_WEIGHTS, _ROWS, _TRAINED = "weights.safetensors", "rows.safetensors", "trained.safetensors"
# A process is started from one that has nothing but our modules: not from this one, whose threads
# may hold locks, and not anew, which takes seconds for each.
_START = "forkserver"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_PAUSE = 0.1
_TOLD = 300


@dataclass(frozen=True, slots=True)
class _Work:
    """The work of each process; `whole` comes without its weights."""

    folder: Path
    devices: DevicesSection
    whole: StudentObjective
    step: RecipeStep
    seed: int
    keeping: CheckpointPlan
    news: Connection


@dataclass(frozen=True, slots=True)
class _Done:
    """News of a step; see `StepListener.note`."""

    progress: StepProgress
    right: float | None


@dataclass(frozen=True, slots=True)
class _Refused:
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Failed:
    """Sent before the process ends: whoever fails because it is gone tells so later."""

    rank: int
    how: str


class StepListener(Protocol):
    """Hears of each step, and holds the rows x and classes y on which accuracy is measured."""

    rows: tuple[torch.Tensor, torch.Tensor]

    def note(self, progress: StepProgress, right: float | None) -> None: ...


class DistributedEngine:
    """Descends as `training.steps.descent.descend` does, with several processes."""

    def __init__(self, devices: DevicesSection, listener: StepListener) -> None:
        self._devices, self._listener = devices, listener

    def __call__(
        self,
        student: nn.Module,
        objective: nn.Module,
        corpus: TaughtRows,
        step: RecipeStep,
        seed: int,
        watch: Watch,
        keeping: CheckpointPlan | None,
    ) -> None:
        """Train `student` in place; the listener hears of steps, and `watch` is not called.

        Raises what a process was refused for, RECIPE_INVALID, PROCESS_LOST.
        """
        if keeping is None:
            raise ValueError("processes meet in the folder of the run")
        if self._devices.split == TENSOR:
            tensor_parallel.check_split(student, self._devices.processes)
        # 1.
        folder = keeping.folder.resolve() / "together"
        shutil.rmtree(folder, ignore_errors=True)
        whole = StudentObjective(student, objective)
        write_whole(folder / _WEIGHTS, _tensors(whole.state_dict()))
        write_whole(folder / _ROWS, _tensors(_named(corpus.rows, self._listener.rows)))
        # 2.
        hears, tells = multiprocessing.get_context(_START).Pipe(duplex=False)
        empty = copy.deepcopy(whole).to("meta")
        work = _Work(folder, self._devices, empty, step, seed, keeping, tells)
        with hears, tells, _started(work) as context:
            self._follow(context, hears)
        student.load_state_dict(load_file(folder / _TRAINED))

    def _follow(self, context: PContext, news: Connection) -> None:
        refused: list[_Refused] = []
        failed: list[_Failed] = []
        ranks = _running(context)
        while True:
            result = context.wait(0)
            while news.poll(0 if result else _PAUSE):
                told = news.recv()
                if isinstance(told, _Done):
                    self._listener.note(told.progress, told.right)
                elif isinstance(told, _Refused):
                    refused.append(told)
                else:
                    failed.append(told)
            if result is not None:
                break
        # 3.
        if refused:
            raise SealgateError(Reason.named(refused[0].reason), refused[0].detail)
        if result.is_failed():
            lost = _lost(result, ranks, failed)
            who = f"process {lost.rank + 1} of {self._devices.processes}"
            raise SealgateError(Reason.PROCESS_LOST, f"{who}: {lost.how}")


@contextmanager
def _started(work: _Work) -> Iterator[PContext]:
    """All processes, which end with the block."""
    # Our own error says which process ended.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    multiprocessing.get_context(_START).set_forkserver_preload([__name__])
    ranks = range(work.devices.processes)
    with TemporaryDirectory() as logs, _own_signals():
        context = start_processes(
            "training",
            _work,
            args={rank: (rank, work) for rank in ranks},
            envs={rank: _environment(rank, len(ranks)) for rank in ranks},
            logs_specs=DefaultLogsSpecs(log_dir=logs),
            start_method=_START,
        )
        try:
            yield context
        finally:
            context.close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Signals end this process as they would without torch, which sets handlers for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(rank: int, processes: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }


def _running(context: PContext) -> dict[int, BaseProcess]:
    """By rank, those that have not ended yet."""
    children = {child.pid: child for child in multiprocessing.active_children()}
    pids = sorted(context.pids().items())
    return {rank: children[pid] for rank, pid in pids if pid in children}


def _lost(
    result: RunProcsResult, ranks: Mapping[int, BaseProcess], failed: Sequence[_Failed]
) -> _Failed:
    """The process that failed first: one that was killed, since others fail because of its end, and
    SIGTERM ends those that are left; or else the first with an error.
    """
    for rank, child in ranks.items():
        if (code := child.exitcode or 0) < 0 and -code != signal.SIGTERM:
            return _Failed(rank, f"ended by {signal.Signals(-code).name}")
    if failed:
        return failed[0]
    rank, failure = min(result.failures.items())
    return _Failed(rank, f"ended with exit code {failure.exitcode}")


def _work(rank: int, work: _Work) -> None:
    """The work of each process."""
    torch.set_num_threads(1)
    try:
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{work.folder / 'meeting'}",
            rank=rank,
            world_size=work.devices.processes,
        )
        trained = _descend(rank, work)
        if rank == 0:
            write_whole(work.folder / _TRAINED, _tensors(trained))
        distributed.barrier()
        distributed.destroy_process_group()
    except SealgateError as refusal:
        work.news.send(_Refused(refusal.reason.name, refusal.detail))
        raise SystemExit(1) from None
    except Exception as error:
        how = traceback.format_exception_only(error)[-1].strip()
        work.news.send(_Failed(rank, how[:_TOLD]))
        raise


def _descend(rank: int, work: _Work) -> dict[str, torch.Tensor]:
    whole = work.whole.to_empty(device="cpu")
    whole.load_state_dict(load_file(work.folder / _WEIGHTS))
    rows = load_file(work.folder / _ROWS)
    fit = rows.pop("x_fit"), rows.pop("y_fit")
    corpus = TaughtRows(
        TrainingBatch(rows["x"], rows["y"], rows.get("logits"), rows.get("vectors"))
    )
    student: nn.Module = whole.student
    engine: StepEngine
    if work.devices.split == TENSOR:
        tensor_parallel.split(student, work.devices.processes)
        engine = tensor_parallel.TensorParallelEngine()
    else:
        engine = AccelerateEngine()

    def watch(progress: StepProgress) -> None:
        right = measured(student, fit, progress)
        if rank == 0:
            work.news.send(_Done(progress, right))

    descend(
        student, whole.objective, corpus, work.step, work.seed, watch, work.keeping, engine=engine
    )
    return tensor_parallel.gathered(student)


def _named(rows: TrainingBatch, fit: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
    named = {"x": rows.x, "y": rows.y, "logits": rows.logits, "vectors": rows.vectors}
    told = {name: value for name, value in named.items() if value is not None}
    return told | {"x_fit": fit[0], "y_fit": fit[1]}


def _tensors(named: dict[str, torch.Tensor]) -> bytes:
    return save({name: value.detach().contiguous() for name, value in named.items()})
