"""`make bench NAME=federated`: training with clients beside central training, with poisoners.

    python -m benchmarks.federated [SEEDS]

The digits of scikit-learn are dealt anew for each seed. Sums are SecAgg+'s under both masks, in one
process (`benchmarks.federated.local`), since nine processes for each row would measure their start;
one row has server and clients as processes, as `sealgate federate` has them. Central training has
the same network, the same start and all rows in one place: by the clients' own descent, for as many
passes, and by `sealgate train`'s; the better one counts.
"""

import logging
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.federated.local import follow
from benchmarks.federated.poisoned import LABELS, LABELS_ONCE, SIGN_FLIP, SIGN_ONCE, poisoner
from benchmarks.federated.targets import targets
from benchmarks.report import write_report
from benchmarks.training.intervals import Interval, paired
from training.data.run_data import TRAIN, RunData
from training.federated.federation import Federation
from training.federated.launch import ProcessFolders
from training.federated.node import Update
from training.federated.participant import FederatedParticipant, network, set_weights, weights_of
from training.models.students import accuracy
from training.recipe.federated import CLOSEST, MEDIAN, UNPROTECTED, FederatedRecipe
from training.recipe.recipe import TRAIN as TRAIN_STEP
from training.recipe.recipe import RecipeStep, RunSection
from training.steps.descent import TaughtRows, descend
from training.steps.distillation import LabelLoss, TrainingBatch

SEEDS = 3
PROCESSES = "closest, as processes"
_RECIPE = Path(__file__).parents[2] / "demo" / "recipes" / "digits-federated.toml"


@dataclass(frozen=True, slots=True)
class Arm:
    """How the groups' means are joined, and what the first client does."""

    rule: str
    poison: str = ""

    @property
    def name(self) -> str:
        return f"{self.rule}, {self.poison}" if self.poison else self.rule


ARMS = (
    Arm(CLOSEST),
    Arm(CLOSEST, SIGN_FLIP),
    Arm(CLOSEST, LABELS),
    Arm(UNPROTECTED),
    Arm(UNPROTECTED, SIGN_FLIP),
    Arm(UNPROTECTED, LABELS),
    Arm(CLOSEST, SIGN_ONCE),
    Arm(CLOSEST, LABELS_ONCE),
    Arm(MEDIAN),
    Arm(MEDIAN, SIGN_FLIP),
    Arm(MEDIAN, LABELS),
)


def main(seeds: int = SEEDS) -> None:
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    found: dict[str, list[float]] = {}
    for seed in range(1, seeds + 1):
        for name, right in _central(seed).items():
            found.setdefault(name, []).append(right)
    for arm in ARMS:
        found[arm.name] = [_federated(arm, seed) for seed in range(1, seeds + 1)]
        print(arm.name, *(f"{right:.1%}" for right in found[arm.name]), flush=True)
    rows = [*_rows(found), _processes()]
    told = targets(rows)
    for row in rows:
        print("  ".join(f"{key} {_short(value)}" for key, value in row.items()))
    write_report("federated", rows, told, seeds=seeds)
    for target in told:
        print(target.line())


def _rows(found: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    central = max((name for name in found if "central" in name), key=lambda name: sum(found[name]))
    rows = []
    for name, right in found.items():
        row: dict[str, Any] = {"arm": name, "accuracy": Interval.of(right).shown()}
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
    set_weights(student, follow(federated, weights_of(student), updates))
    return _tested(student, material)


def _processes() -> dict[str, Any]:
    """The recipe as it stands, as `sealgate federate` follows it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        federation = Federation(_RECIPE, Path(made), lambda *_: None)
        material = federation.material()
        student, _, _ = federation.train(material, ProcessFolders(Path(made) / "run"))
    right = round(100 * _tested(student, material), 2)
    return {"arm": PROCESSES, "accuracy": right, "seconds": round(time.monotonic() - began)}


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


def _short(value: Any) -> Any:
    return f"{value['mean']} ± {value['off']}" if isinstance(value, dict) else value


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
