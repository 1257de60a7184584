"""`make bench NAME=federated`: training with clients beside central training, with poisoners.

    python -m benchmarks.federated [SEEDS [poisoners]]

With `poisoners` only those rows are measured that say what one poisoner takes from the rule
`lowest-loss`; the others stay as they are in the report. The digits of scikit-learn are dealt anew
for each seed. Sums are SecAgg+'s under both masks, in one process (`LocalGrid`), since nine
processes for each row would measure their start. Central training has the same network, the same
start and all rows in one place: by the clients' own descent, for as many passes, and by `sealgate
train`'s; the better one counts.
"""

import copy
import logging
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.supercore.task_identity import TaskIdentity
from torch import nn

from benchmarks.federated.targets import (
    LABELS,
    LABELS_ONCE,
    SIGN_FLIP,
    SIGN_ONCE,
    poisoner,
    targets,
)
from benchmarks.intervals import Interval, paired
from benchmarks.report import earlier, finish, show
from training.data import TRAIN, RunData, Weights
from training.federated.client_process import Update, client_app
from training.federated.federation import Federation
from training.federated.participant import (
    Consent,
    FederatedParticipant,
    network,
    set_weights,
    weights_of,
)
from training.federated.server import FederatedRounds
from training.federated.shards import Shard, TrialLoss
from training.models.students import accuracy
from training.recipe.federated import (
    CLOSEST,
    LOWEST,
    UNPROTECTED,
    FederatedRecipe,
    FederatedSection,
)
from training.recipe.recipe import TRAIN as TRAIN_STEP
from training.recipe.recipe import RecipeStep, RunSection
from training.steps.descent import TaughtRows, descend
from training.steps.distillation import LabelLoss, TrainingBatch

_RUN = 1


@dataclass(frozen=True, slots=True)
class _Run:
    run_id: int = _RUN


class LocalGrid:
    """Server and clients in one process: hands messages to the clients' apps, and answers back.

    Flower's workflow and apps with nothing between them: what is added up is as between processes.
    """

    def __init__(self, asked: FederatedSection, updates: Sequence[Update]) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id = _RUN, SUPERLINK_NODE_ID
        TaskIdentity.task_id = _RUN
        self.run, self.silent = _Run(), set[int]()
        # Numbers that no two clients share, and the server does not have.
        self.numbers = tuple(range(101, 101 + len(updates)))
        self._apps = {
            number: client_app(update, Consent(asked))
            for number, update in zip(self.numbers, updates, strict=True)
        }
        self._contexts = {
            number: Context(_RUN, number, {}, RecordDict(), {}) for number in self.numbers
        }
        self._one = threading.Lock()

    def get_node_ids(self) -> Iterable[int]:
        return self.numbers

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        with self._one:
            return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Message:
        number = message.metadata.dst_node_id
        sent: Any = copy.deepcopy(message)
        sent.metadata.__dict__["_message_id"] = message.object_id
        try:
            return self._apps[number](sent, self._contexts[number])
        except Exception as error:
            print(f"client {self.numbers.index(number)}: {error!r}")
            self.silent.add(number)
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, ""), reply_to=sent)


def follow(
    asked: FederatedSection, weights: Weights, updates: Sequence[Update], loss: TrialLoss
) -> Weights:
    """The weights after all rounds. Raises CLIENTS_TOO_FEW."""
    grid = LocalGrid(asked, updates)
    rounds = FederatedRounds(asked, weights, grid, grid.numbers, loss)
    for number in range(1, asked.rounds + 1):
        rounds.follow(number)
    return rounds.weights


SEEDS = 3
_POISONERS = "poisoners"
_RECIPE = Path(__file__).parents[2] / "demo" / "recipes" / "digits-federated.toml"


@dataclass(frozen=True, slots=True)
class Arm:
    """How the groups' means are joined, and what the first client does."""

    rule: str
    poison: str = ""

    @property
    def name(self) -> str:
        return f"{self.rule}, {self.poison}" if self.poison else self.rule


AGAINST_POISONERS = (
    Arm(LOWEST),
    Arm(LOWEST, SIGN_ONCE),
    Arm(LOWEST, LABELS_ONCE),
    Arm(LOWEST, SIGN_FLIP),
    Arm(LOWEST, LABELS),
)
ARMS = (
    Arm(CLOSEST),
    Arm(CLOSEST, SIGN_FLIP),
    Arm(CLOSEST, LABELS),
    Arm(UNPROTECTED),
    Arm(UNPROTECTED, SIGN_FLIP),
    Arm(UNPROTECTED, LABELS),
    Arm(CLOSEST, SIGN_ONCE),
    Arm(CLOSEST, LABELS_ONCE),
)


def main(seeds: int = SEEDS, part: str = "") -> None:
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    found: dict[str, list[float]] = {}
    kept: list[dict[str, Any]] = []
    if part == _POISONERS:
        names = {arm.name for arm in AGAINST_POISONERS}
        kept = [row for row in earlier("federated") if row["arm"] not in names]
    else:
        for seed in range(1, seeds + 1):
            for name, right in _central(seed).items():
                found.setdefault(name, []).append(right)
    for arm in AGAINST_POISONERS if part == _POISONERS else ARMS + AGAINST_POISONERS:
        found[arm.name] = [_federated(arm, seed) for seed in range(1, seeds + 1)]
        print(arm.name, *(f"{right:.1%}" for right in found[arm.name]), flush=True)
    rows = kept + _rows(found)
    show(rows, ("arm", "accuracy", "below_central", "below_honest"))
    # Each row says how many seeds it has.
    finish("federated", rows, targets(rows))


def _rows(found: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    centrals = [name for name in found if "central" in name]
    rows = []
    for name, right in found.items():
        row: dict[str, Any] = {"arm": name, "accuracy": Interval.of(right).shown()}
        if centrals:
            central = max(centrals, key=lambda name: sum(found[name]))
            row["below_central"] = paired(found[central], right).shown()
        honest, _, poison = name.partition(", ")
        if poison in (SIGN_FLIP, LABELS, SIGN_ONCE, LABELS_ONCE):
            row["below_honest"] = paired(found[honest], right).shown()
        rows.append(row)
    return rows


def _asked(seed: int) -> FederatedRecipe:
    return replace(FederatedRecipe.read(_RECIPE), run=RunSection(seed))


def _start(asked: FederatedRecipe, material: RunData) -> nn.Module:
    torch.manual_seed(asked.run.seed)
    return network(asked, material.read.x.shape[1:], len(material.read.names))


def _federated(arm: Arm, seed: int) -> float:
    """Accuracy on the test slice."""
    asked = _asked(seed)
    federation = Federation(_RECIPE, Path(), lambda *_: None)
    material, federated = federation.material(), replace(asked.federated, rule=arm.rule)
    classes, student = len(material.read.names), _start(asked, material)
    dealt = federation.deal(material, seed)
    updates: list[Update] = [
        FederatedParticipant(asked, one.x, one.y, classes, one.seed).update for one in dealt
    ]
    if arm.poison:
        updates[0] = poisoner(arm.poison, asked, dealt[0], classes)
    tried = TrialLoss(asked, Shard(*material.slices["fit"], 0), classes)
    set_weights(student, follow(federated, weights_of(student), updates, tried))
    return _tested(student, material)


def _central(seed: int) -> dict[str, float]:
    """The same network on the same rows in one place, by both ways of descending."""
    asked = _asked(seed)
    material = Federation(_RECIPE, Path(), lambda *_: None).material()
    x, y = material.slices[TRAIN]
    federated, student = asked.federated, _start(asked, material)
    start = weights_of(student)
    participant, weights = FederatedParticipant(asked, x, y, len(material.read.names), seed), start
    for number in range(1, federated.rounds + 1):
        weights = weights + participant.update(weights, number)
    set_weights(student, weights)
    found = {"central, by the clients' descent": _tested(student, material)}
    set_weights(student, start)
    step = RecipeStep(TRAIN_STEP, epochs=federated.rounds * federated.epochs, learning_rate=4e-3)
    corpus = TaughtRows(TrainingBatch(torch.from_numpy(x), torch.from_numpy(y)))
    descend(student, LabelLoss(), corpus, step, seed)
    return found | {"central, by sealgate train": _tested(student, material)}


def _tested(student: nn.Module, material: RunData) -> float:
    x, y = (torch.from_numpy(part) for part in material.slices["test"])
    return accuracy(student, x, y)


if __name__ == "__main__":
    stated, named = [*sys.argv[1:3], "", ""][:2]
    main(int(stated or SEEDS), named)
