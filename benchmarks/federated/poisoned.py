"""What a poisoner among the clients does to its update.

sign-flip   sends minus ten times what its training added
labels      trains on labels that are each one too high, and sends ten times what that added
sign-once   sends minus what its training added: no larger than others' updates
labels-once trains on labels that are each one too high
"""

import numpy as np

from training.data.run_files import Weights
from training.federated.launch import Shard
from training.federated.node import Update
from training.federated.participant import FederatedParticipant
from training.recipe.federated import FederatedRecipe

SIGN_FLIP, LABELS, SIGN_ONCE, LABELS_ONCE = POISONS = (
    *("sign-flip", "labels", "sign-once", "labels-once"),
)
_TIMES = {SIGN_FLIP: -10.0, LABELS: 10.0, SIGN_ONCE: -1.0, LABELS_ONCE: 1.0}


def poisoner(kind: str, asked: FederatedRecipe, shard: Shard, classes: int) -> Update:
    """The update of a client that holds `shard` and is a poisoner of this kind."""
    y = (shard.y + 1) % classes if kind in (LABELS, LABELS_ONCE) else shard.y
    participant, times = FederatedParticipant(asked, shard.x, y, classes, shard.seed), _TIMES[kind]

    def update(weights: Weights, number: int) -> Weights:
        return np.float32(times) * participant.update(weights, number)

    return update
