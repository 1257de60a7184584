"""A run of a federated recipe, from its file to a folder for `sealgate model publish`.

The folder is the one described in `training.run.recipe_run`.

1. The recipe is read. The folder must be new: masks, groups and keys come from the system's
   entropy, so an interrupted run starts again, and no run can be repeated exactly.
2. The rows of the slice `train` are dealt to the clients; the other slices stay here.
3. Server and clients run as processes. After each round the weights are tried on the slice `fit`,
   which no client has.
4. Both graphs are exported, and the provenance statement records who was summed with whom.
"""

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.times import format_time
from training.data import TRAIN, RunData, held, is_bare, write_whole
from training.federated.enrolment import weights_digest
from training.federated.launch import NODES, SERVER, Processes, ProcessFolders, processes
from training.federated.participant import network, private_step, set_weights, weights_of
from training.federated.shards import Shard
from training.models import students
from training.recipe.federated import LOWEST, FederatedRecipe
from training.run import sources
from training.run.finishing import FinishedRun, finish
from training.run.origin import RunInputs
from training.steps.privacy import spent
from training.steps.progress import CurvePoint, Tell, TrainingCurves

_TRIES = 100
Places = npt.NDArray[np.int64]


def deal(
    y: npt.NDArray[np.int64], clients: int, skew: float, seed: int, least: int = 8
) -> tuple[Places, ...]:
    """Deal rows to clients so that no two have the same mix of classes (Hsu et al., arXiv
    1909.06335).

    The rows of each class are split by shares drawn from a Dirichlet distribution: at a skew of 0.1
    most clients see few classes, at 100 all see all. The same for one seed. Raises
    SealgateError(TRAINING_DATA) if a client stays below `least` rows.
    """
    draws = np.random.default_rng(seed)
    for _ in range(_TRIES):
        shards = _deal_once(y, clients, skew, draws)
        if min(map(len, shards)) >= least:
            return shards
    raise SealgateError(
        Reason.TRAINING_DATA, f"{len(y)} rows at skew {skew:g} leave a client fewer than {least}"
    )


def _deal_once(
    y: npt.NDArray[np.int64], clients: int, skew: float, draws: np.random.Generator
) -> tuple[Places, ...]:
    hands: list[list[Places]] = [[] for _ in range(clients)]
    for label in np.unique(y):
        rows = draws.permutation(np.flatnonzero(y == label))
        ends = np.cumsum(draws.dirichlet(np.full(clients, skew)))[:-1]
        cut = np.split(rows, np.round(ends * len(rows)).astype(np.int64))
        for hand, part in zip(hands, cut, strict=True):
            hand.append(part)
    return tuple(np.sort(np.concatenate(hand)) for hand in hands)


_KIND = "federated"
STARTING = 300.0


class Federation:
    """Runs one recipe in one folder; `nodes` and `server` are what the processes run."""

    def __init__(
        self,
        path: Path,
        out: Path,
        tell: Tell,
        nodes: Sequence[str] = NODES,
        server: Sequence[str] = SERVER,
    ) -> None:
        """Raises RECIPE_INVALID."""
        self._path, self._asked = path, FederatedRecipe.read(path)
        self._out, self._tell = out, tell
        self._programs = nodes, server

    def make(self) -> FinishedRun:
        """Raises RUN_FOREIGN, TRAINING_DATA, RECIPE_INVALID, CLIENTS_TOO_FEW, STORAGE_FULL."""
        # 1.
        with held(self._out):
            return self._follow()

    def _follow(self) -> FinishedRun:
        if not is_bare(self._out):
            raise SealgateError(Reason.RUN_FOREIGN, f"{self._out} is not empty")
        began = format_time(datetime.now(UTC))
        material = self.material()
        folders = ProcessFolders(self._out / "run")
        try:
            student, account, privacy = self.train(material, folders)
            # 4.
            self._tell("export", "both graphs")
            digest = sha256(self._path.read_bytes())
            files = material.read.files
            went_in = RunInputs(self._asked, digest, files, {}, began, privacy, account)
            return finish(self._out, student, material, went_in)
        except BaseException:
            # It holds clients' rows and keys.
            shutil.rmtree(folders.run, ignore_errors=True)
            raise

    def material(self) -> RunData:
        """The recipe's rows. Raises TRAINING_DATA, FILE_MISSING."""
        asked = self._asked.data
        return RunData.cut(sources.read_rows(asked, None), asked)

    def train(
        self, material: RunData, folders: ProcessFolders
    ) -> tuple[nn.Module, Mapping[str, Any], Mapping[str, Any] | None]:
        """The student, who took part in which sum, and the privacy spent, if any."""
        torch.set_num_threads(1)
        asked, classes = self._asked.federated, len(material.read.names)
        torch.manual_seed(self._asked.run.seed)
        student = network(self._asked, material.read.x.shape[1:], classes)
        # 2.
        self._lay_out(folders, student, material)
        if asked.rule == LOWEST:
            folders.write_tried(Shard(*material.slices["fit"], 0), classes)
        # 3.
        with processes(folders, *self._programs) as started:
            self._gather(started, folders)
            told = [
                self._round(started, number, student, material)
                for number in range(1, asked.rounds + 1)
            ]
            self._part(started)
        account = {
            "clients": asked.clients,
            "rule": asked.rule,
            "rounds": told,
            "weights": weights_digest(weights_of(student)),
        }
        return student, {**account, **self._evidence(folders)}, self._spent(folders, told)

    def write_shards(self) -> list[Path]:
        """Write each client's rows to OUT/client-NNN.safetensors, for clients to bring along.

        Raises as `deal` does, RUN_FOREIGN, STORAGE_FULL.
        """
        with held(self._out):
            if not is_bare(self._out):
                raise SealgateError(Reason.RUN_FOREIGN, f"{self._out} is not empty")
            dealt = self.deal(self.material(), self._asked.run.seed)
            files = [self._out / f"client-{at:03d}.safetensors" for at in range(len(dealt))]
            for file, shard in zip(files, dealt, strict=True):
                write_whole(file, shard.encode())
        return files

    def _lay_out(self, folders: ProcessFolders, student: nn.Module, material: RunData) -> None:
        """Writes the files that the processes need at start."""
        dealt = self.deal(material, self._asked.run.seed)
        classes = len(material.read.names)
        folders.lay_out(self._path.read_bytes(), weights_of(student), dealt, classes)

    def _gather(self, started: Processes, folders: ProcessFolders) -> None:
        """Clients come to a server that has started."""
        started.start_clients(STARTING)

    def _part(self, started: Processes) -> None:
        """All rounds are over."""

    def _evidence(self, folders: ProcessFolders) -> Mapping[str, Any]:
        """The account's fields beside rounds."""
        return {}

    def _spent(
        self, folders: ProcessFolders, told: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any] | None:
        return folders.spent()

    def deal(self, material: RunData, seed: int) -> list[Shard]:
        """Each client's rows.

        Raises TRAINING_DATA; RECIPE_INVALID where the rounds spend more than the budget.
        """
        asked = self._asked.federated
        x, y = material.slices[TRAIN]
        dealt = [
            Shard(x[places], y[places], seed * 1_000 + at)
            for at, places in enumerate(deal(y, asked.clients, asked.skew, seed, asked.rows))
        ]
        step = private_step(self._asked)
        if step is not None:
            most = max(spent(step, len(shard.y), asked.rounds).epsilon for shard in dealt)
            if most > step.epsilon:
                detail = f"{asked.rounds} rounds spend epsilon {most:.3g} on the smallest shard"
                raise SealgateError(Reason.RECIPE_INVALID, detail)
        return dealt

    def _round(
        self, started: Processes, number: int, student: nn.Module, material: RunData
    ) -> dict[str, Any]:
        weights, told = started.wait_for(number)
        set_weights(student, weights)
        x, y = (torch.from_numpy(part) for part in material.slices["fit"])
        loss = float(functional.cross_entropy(students.logits_of(student, x), y))
        right = students.accuracy(student, x, y)
        TrainingCurves(self._out / "curves.jsonl").add(CurvePoint(1, _KIND, number, loss, right))
        sums = ", ".join("+".join(map(str, group)) for group in told["groups"])
        self._tell(
            f"round {number}", f"of {self._asked.federated.rounds}, {right:.1%} right, sums {sums}"
        )
        return told
