"""One client's part in a round: train on its own rows, return the change, and check what is asked.

The protocol trusts the server with the members of a group and with what is unmasked. Before its
part of a secure sum the client checks:

1. A sum has three clients or more, all of whom must answer, and follows the recipe.
2. The number of keys shown equals the size of the group, and the client's own key is among them.
3. Only the sum of the whole group is unmasked.
4. Rounds are those of the recipe, and none is repeated more often than our server does: each sum
   reveals something about a client's rows.

The client cannot see whether the others are who they claim: nobody vouches for keys
(docs/adr/0020).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from sealgate.reasons import Reason, SealgateError
from training.data import SourceRows, Weights
from training.models import students
from training.recipe.federated import (
    LEAST_CLIENTS,
    MODULUS,
    QUANTA,
    TRIES,
    FederatedRecipe,
    FederatedSection,
)
from training.recipe.sections import PRIVATE, RecipeStep
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch
from training.steps.privacy import descend_privately, spent

_MOMENTUM = 0.9
_STEEPEST = 1.0
SETUP, SHARE_KEYS, COLLECT, UNMASK = ("setup", "share_keys", "collect_masked_vectors", "unmask")


class FederatedParticipant:
    """Holds rows x float32 [n, ...] with classes y int64 [n] of `classes`; they stay here."""

    def __init__(
        self,
        asked: FederatedRecipe,
        x: npt.NDArray[np.float32],
        y: npt.NDArray[np.int64],
        classes: int,
        seed: int,
    ) -> None:
        self._asked, self._seed = asked, seed
        self._x, self._y = torch.from_numpy(x), torch.from_numpy(y)
        self._student = network(asked, x.shape[1:], classes)
        self._private = private_step(asked)
        self._rounds = 0

    def update(self, weights: Weights, number: int = 1) -> Weights:
        """The update that the training of round `number`, from 1, adds to `weights` [n].

        Raises SealgateError: LOSS_NOT_FINITE; RECIPE_INVALID where it would spend more than the
        budget.
        """
        set_weights(self._student, weights)
        if self._private is None:
            self._rounds += 1
            self.descend(number)
        else:
            self._afford(self._private)
            # Counted before it runs: an interrupted round has revealed something about the rows
            # too.
            self._rounds += 1
            descend_privately(
                self._student, TaughtRows(TrainingBatch(self._x, self._y)), self._private
            )
        moved: Weights = weights_of(self._student) - weights
        if not np.isfinite(moved).all():
            # The last update follows the last loss.
            raise SealgateError(Reason.LOSS_NOT_FINITE, "a client's weights are not finite")
        return moved

    def spent(self) -> dict[str, float | int | str] | None:
        """The budget that all rounds so far spent, if there is one:
        `training.steps.privacy.PrivacySpent`.
        """
        if self._private is None:
            return None
        return spent(self._private, len(self._y), self._rounds).encode()

    def descend(self, number: int) -> None:
        asked = self._asked.federated
        rate = asked.learning_rate * (1 - (number - 1) / asked.rounds)
        optimizer = torch.optim.SGD(self._student.parameters(), rate, momentum=_MOMENTUM)
        order = torch.Generator().manual_seed(self._seed * 1_000_003 + self._rounds)
        self._student.train()
        for _ in range(asked.epochs):
            for places in torch.randperm(len(self._y), generator=order).split(asked.batch):
                loss = functional.cross_entropy(self._student(self._x[places]), self._y[places])
                if not math.isfinite(loss.item()):
                    raise SealgateError(Reason.LOSS_NOT_FINITE, "a client's loss is not finite")
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self._student.parameters(), _STEEPEST)
                optimizer.step()
        self._student.eval()

    def _afford(self, step: RecipeStep) -> None:
        if spent(step, len(self._y), self._rounds + 1).epsilon > step.epsilon:
            raise SealgateError(
                Reason.RECIPE_INVALID,
                f"round {self._rounds + 1} would spend more than epsilon {step.epsilon:g}",
            )


def network(asked: FederatedRecipe, row: tuple[int, ...], classes: int) -> nn.Module:
    """The recipe's student for rows of this shape, its weights at random (of torch's generator)."""
    shape = np.empty((0, *row), np.float32)
    names = tuple(str(label) for label in range(classes))
    read = SourceRows(shape, np.empty(0, np.int64), names, title="", license="", files={})
    return students.make(asked.student, read)


def weights_of(student: nn.Module) -> Weights:
    """The parameters, one after another, [n]."""
    vector: Weights = nn.utils.parameters_to_vector(student.parameters()).detach().numpy().copy()
    return vector


def set_weights(student: nn.Module, weights: Weights) -> None:
    """Take what `weights_of` gave, of a network of the same sizes."""
    at = 0
    with torch.no_grad():
        for part in student.parameters():
            taken = weights[at : at + part.numel()].astype(np.float32)
            part.copy_(torch.from_numpy(taken).view_as(part))
            at += part.numel()


def private_step(asked: FederatedRecipe) -> RecipeStep | None:
    """A client's round in a private recipe, as a step of `sealgate train`."""
    wanted, local = asked.private, asked.federated
    if not wanted.epsilon:
        return None
    return RecipeStep(
        PRIVATE,
        epochs=local.epochs,
        batch=local.batch,
        learning_rate=local.learning_rate,
        noise=wanted.noise,
        clip=wanted.clip,
        epsilon=wanted.epsilon,
        delta=wanted.delta,
    )


class Consent:
    """Checks one sum after another."""

    def __init__(self, asked: FederatedSection) -> None:
        self._asked = asked
        self._group: frozenset[int] = frozenset()
        self._size = 0
        self._tried: Counter[int] = Counter()

    def look_at_round(self, number: int) -> None:
        """Called before each update. Raises SealgateError(SUM_REFUSED)."""
        # 4.
        if not 1 <= number <= self._asked.rounds:
            raise _refused(f"there is no round {number}")
        if self._tried[number] == TRIES:
            raise _refused(f"round {number} was tried {TRIES} times")
        self._tried[number] += 1

    def look(self, own: int, request: Mapping[str, Any]) -> None:
        """`own` is the number that this client goes by. Raises SealgateError(SUM_REFUSED)."""
        stage = request.get("stage")
        if stage == SETUP:
            self._look_at_settings(request)
        elif stage == SHARE_KEYS:
            self._look_at_keys(own, [name for name in request if name != "stage"])
        elif stage == COLLECT:
            self._look_at_whole("shares of others", [own, *request.get("srcs", ())])
        elif stage == UNMASK:
            if request.get("dead_nids"):
                raise _refused("it would take the masks off clients that are gone")
            self._look_at_whole("clients to unmask", request.get("active_nids", ()))
        else:
            raise _refused(f"there is no stage {stage!r}")

    def _look_at_settings(self, request: Mapping[str, Any]) -> None:
        # 1.
        size = request.get("sample_num")
        if not isinstance(size, int) or size < LEAST_CLIENTS:
            raise _refused(f"a sum of {size!r} clients")
        wanted = {
            "share_num": size,
            "threshold": size,
            "clipping_range": self._asked.clip,
            "target_range": QUANTA,
            "mod_range": MODULUS,
            "max_weight": 1.0,
        }
        for name, value in wanted.items():
            if request.get(name) != value:
                raise _refused(f"{name} is {request.get(name)!r}, not {value!r}")
        self._size, self._group = size, frozenset()

    def _look_at_keys(self, own: int, names: Sequence[str]) -> None:
        # 2.
        group = frozenset(int(name) for name in names)
        if len(group) != self._size or len(names) != self._size or own not in group:
            raise _refused(f"keys of {len(group)} clients for a sum of {self._size}")
        self._group = group

    def _look_at_whole(self, what: str, numbers: Sequence[int]) -> None:
        # 3.
        if not self._group or frozenset(numbers) != self._group or len(numbers) != self._size:
            raise _refused(f"the {what} are not the group")


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.SUM_REFUSED, detail)
