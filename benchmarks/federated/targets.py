"""The targets of training with clients, and how a poisoner among them changes its update.

sign-flip   sends minus ten times what its training added
labels      trains on labels that are each one too high, and sends ten times what that added
sign-once   sends minus what its training added: no larger than others' updates
labels-once trains on labels that are each one too high
"""

import numpy as np

from benchmarks.report import Row, Target
from training.data import Weights
from training.federated.client_process import Update
from training.federated.participant import FederatedParticipant
from training.federated.shards import Shard
from training.recipe.federated import CLOSEST, LOWEST, FederatedRecipe

SIGN_FLIP, LABELS = "sign-flip", "labels"
SIGN_ONCE, LABELS_ONCE = "sign-once", "labels-once"
_TIMES = {SIGN_FLIP: -10.0, LABELS: 10.0, SIGN_ONCE: -1.0, LABELS_ONCE: 1.0}


def poisoner(kind: str, asked: FederatedRecipe, shard: Shard, classes: int) -> Update:
    """The update of a client that holds `shard` and is a poisoner of this kind."""
    y = (shard.y + 1) % classes if kind in (LABELS, LABELS_ONCE) else shard.y
    participant, times = FederatedParticipant(asked, shard.x, y, classes, shard.seed), _TIMES[kind]

    def update(weights: Weights, number: int) -> Weights:
        return np.float32(times) * participant.update(weights, number)

    return update


_NAMES = {
    SIGN_FLIP: "its update turned round, ten times as large",
    LABELS: "labels turned, its update ten times as large",
    SIGN_ONCE: "its update turned round, no larger than others'",
    LABELS_ONCE: "labels turned",
}
_NEAR = "a group that does no worse on the server's rows than honest ones is not told from them"


def targets(rows: list[Row]) -> list[Target]:
    """Means over the seeds, in points, for the arms that have rows."""
    arms = {row["arm"]: row for row in rows}
    found = []
    if CLOSEST in arms:
        found.append(
            Target(
                "nine clients, three secure sums: points below central training",
                arms[CLOSEST]["below_central"]["mean"],
                2.0,
            )
        )
    for poison, what in _NAMES.items():
        row = arms.get(f"{LOWEST}, {poison}") or arms.get(f"{CLOSEST}, {poison}")
        if row is not None:
            moved = Target(
                f"one poisoner of nine ({what}): points lost", row["below_honest"]["mean"], 1.0
            )
            found.append(moved if moved.met else moved.because(_NEAR))
    return found
