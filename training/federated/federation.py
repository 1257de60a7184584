"""A run of a federated recipe, from its file to a folder that `sealgate model publish` takes; the
folder is the one of `training.workshop`.

1. The recipe is read. The folder must be new: masks, groups and keys are of the system's entropy,
   so a run that broke off is made anew, and none comes out the same twice.
2. The rows of the slice `train` are dealt to the clients; the other slices stay here.
3. Server and clients run as processes. After each round its weights are tried on the slice `fit`,
   which no client has.
4. Both graphs are exported, and the statement of provenance says who was summed with whom.
"""

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sealgate.reasons import Reason, Refusal
from sealgate.trust.canonical import sha256
from sealgate.trust.times import format_time
from training import sources, students
from training.curves import Curves, Point
from training.federated import shards
from training.federated.launch import NODES, SERVER, Folders, Processes, Shard, processes
from training.federated.participant import network, private_step, set_weights, weights_of
from training.federated.recipe import FederatedRecipe
from training.finishing import Made, finish
from training.material import TRAIN, Material
from training.origin import Ingredients
from training.privacy import spent
from training.storage import held, is_bare
from training.watching import Tell

_KIND = "federated"
_STARTING = 300.0


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

    def make(self) -> Made:
        """Raises RUN_FOREIGN, TRAINING_DATA, RECIPE_INVALID, CLIENTS_TOO_FEW, STORAGE_FULL."""
        # 1.
        with held(self._out):
            return self._follow()

    def _follow(self) -> Made:
        if not is_bare(self._out):
            raise Refusal(Reason.RUN_FOREIGN, f"{self._out} is not empty")
        began = format_time(datetime.now(UTC))
        material = self.material()
        folders = Folders(self._out / "run")
        try:
            student, account, privacy = self.train(material, folders)
            # 4.
            self._tell("export", "both graphs")
            digest = sha256(self._path.read_bytes())
            files = material.read.files
            went_in = Ingredients(self._asked, digest, files, {}, began, privacy, account)
            return finish(self._out, student, material, went_in)
        except BaseException:
            # It holds clients' rows and keys.
            shutil.rmtree(folders.run, ignore_errors=True)
            raise

    def material(self) -> Material:
        """The recipe's rows. Raises TRAINING_DATA, FILE_MISSING."""
        asked = self._asked.data
        return Material.cut(sources.read_rows(asked, None), asked)

    def train(
        self, material: Material, folders: Folders
    ) -> tuple[nn.Module, Mapping[str, Any], Mapping[str, Any] | None]:
        """The student, who took part in which sum, and the privacy spent, if any."""
        torch.set_num_threads(1)
        asked, classes = self._asked.federated, len(material.read.names)
        # 2.
        dealt = self.deal(material, self._asked.run.seed)
        torch.manual_seed(self._asked.run.seed)
        student = network(self._asked, material.read.x.shape[1:], classes)
        folders.lay_out(self._path.read_bytes(), weights_of(student), dealt, classes)
        # 3.
        with processes(folders, *self._programs) as started:
            started.start_clients(_STARTING)
            told = [
                self._round(started, number, student, material)
                for number in range(1, asked.rounds + 1)
            ]
        account = {"clients": asked.clients, "rule": asked.rule, "rounds": told}
        return student, account, folders.spent()

    def deal(self, material: Material, seed: int) -> list[Shard]:
        """Each client's rows.

        Raises TRAINING_DATA; RECIPE_INVALID where the rounds spend more than the budget.
        """
        asked = self._asked.federated
        x, y = material.slices[TRAIN]
        dealt = [
            Shard(x[places], y[places], seed * 1_000 + at)
            for at, places in enumerate(shards.deal(y, asked.clients, asked.skew, seed))
        ]
        step = private_step(self._asked)
        if step is not None:
            most = max(spent(step, len(shard.y), asked.rounds).epsilon for shard in dealt)
            if most > step.epsilon:
                detail = f"{asked.rounds} rounds spend epsilon {most:.3g} on the smallest shard"
                raise Refusal(Reason.RECIPE_INVALID, detail)
        return dealt

    def _round(
        self, started: Processes, number: int, student: nn.Module, material: Material
    ) -> dict[str, Any]:
        weights, told = started.wait_for(number)
        set_weights(student, weights)
        x, y = (torch.from_numpy(part) for part in material.slices["fit"])
        loss = float(functional.cross_entropy(students.logits_of(student, x), y))
        right = students.accuracy(student, x, y)
        Curves(self._out / "curves.jsonl").add(Point(1, _KIND, number, loss, right))
        sums = ", ".join("+".join(map(str, group)) for group in told["groups"])
        self._tell(
            f"round {number}", f"of {self._asked.federated.rounds}, {right:.1%} right, sums {sums}"
        )
        return told
