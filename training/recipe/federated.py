"""A recipe for federated training: one strict TOML file; see docs/how-to/training.md.

[model], [run], [data], [student]   as in `training.recipe.recipe`
[federated]                         clients, rounds, groups and the rule over their sums
[private]                           differential privacy added by each client; optional
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path

from sealgate.settings import ConfigError
from training.recipe.recipe import (
    CONVOLUTION,
    ENCODER,
    OF_IMAGES,
    ModelSection,
    RunSection,
    SliceSizes,
    StudentSection,
    read_recipe,
)

CLOSEST, LOWEST, MEDIAN, TRIMMED, UNPROTECTED = RULES = (
    *("closest", "lowest-loss", "median", "trimmed-mean", "unprotected-mean"),
)
# Rules that leave out whole groups, `trim` of them.
_OF_SETS = (CLOSEST, LOWEST)
# A sum of fewer tells too much of each; a rule over fewer sums has no majority.
LEAST_CLIENTS = LEAST_GROUPS = 3
# Sums of quantized updates have to stay below SecAgg+'s modulus.
QUANTA, MODULUS = 1 << 22, 1 << 32
# How often a round is tried, with those that answered.
TRIES = 3
_MOST_CLIENTS = MODULUS // QUANTA - 1
# They examine every set of groups without `trim` of them, in each round.
_MOST_SETS = 10_000


@dataclass(frozen=True, slots=True)
class FederatedSection:
    """`clients` hold shards whose classes are skewed by a Dirichlet distribution of `skew` (small:
    very). In each of `rounds` they are drawn into groups of `group` or one more; each trains for
    `epochs` on its own rows, the server learns each group's sum, and `rule` joins the sums' means.

    `trim` is how many means `closest` leaves out, `lowest-loss` at most, or a trimmed mean at each
    end; `clip` the most by
    which one round may change one weight; `patience` how many seconds an answer may take. Clients
    descend by SGD with momentum, at `learning_rate`, which falls evenly over the rounds.
    """

    clients: int = 9
    group: int = 3
    rounds: int = 12
    rule: str = CLOSEST
    trim: int = 1
    skew: float = 0.5
    epochs: int = 3
    batch: int = 16
    learning_rate: float = 0.05
    clip: float = 1.0
    patience: float = 60.0
    rows: int = 8

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ConfigError(f"[federated] rule is one of {', '.join(RULES)}")
        if self.group < LEAST_CLIENTS:
            raise ConfigError(f"[federated] group is at least {LEAST_CLIENTS}")
        if self.groups < LEAST_GROUPS:
            raise ConfigError(f"[federated] clients must make {LEAST_GROUPS} groups or more")
        if self.clients > _MOST_CLIENTS:
            raise ConfigError(f"[federated] clients is at most {_MOST_CLIENTS}")
        if self.rule not in (*_OF_SETS, TRIMMED) and self.trim != 1:
            raise ConfigError(f"[federated] a rule {self.rule!r} has no trim")
        if self.groups <= 2 * self.trim:
            raise ConfigError("[federated] trim must leave most of the groups")
        if self.rule in _OF_SETS and self._sets > _MOST_SETS:
            raise ConfigError("[federated] trim leaves too many combinations of groups")

    @property
    def _sets(self) -> int:
        return sum(math.comb(self.groups, left) for left in range(self.trim + 1))

    @property
    def groups(self) -> int:
        return self.clients // self.group

    @property
    def least_groups(self) -> int:
        """So many sums the rule needs for a majority."""
        return max(LEAST_GROUPS, 2 * self.trim + 1)


@dataclass(frozen=True, slots=True)
class ClientPrivacy:
    """DP-SGD on each client, as a step `private` of `sealgate train` has it, until `epsilon` at
    `delta` is spent for any one row; without an `epsilon` there is none.
    """

    epsilon: float = 0.0
    delta: float = 1e-5
    noise: float = 1.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        stated = [item.name for item in fields(self) if getattr(self, item.name) != item.default]
        if stated and not self.epsilon:
            raise ConfigError("[private] needs epsilon")
        if self.delta >= 1:
            raise ConfigError("[private] delta is a probability")


@dataclass(frozen=True, slots=True)
class FederatedRecipe:
    """The whole file, checked. Raises ConfigError."""

    model: ModelSection
    run: RunSection
    data: SliceSizes
    student: StudentSection
    federated: FederatedSection
    private: ClientPrivacy

    def __post_init__(self) -> None:
        if self.student.kind == ENCODER:
            raise ConfigError("clients train a perceptron or a convolution")
        if self.student.kind == CONVOLUTION and self.data.source not in OF_IMAGES:
            raise ConfigError(f"a convolution takes images: {', '.join(OF_IMAGES)}")
        if self.data.labels:
            raise ConfigError("[data] clients have labels for all of their rows")
        if self.run != RunSection(self.run.seed):
            raise ConfigError("[run] checkpoint_steps: a federated run cannot be continued")

    @classmethod
    def read(cls, path: Path) -> "FederatedRecipe":
        """Raises SealgateError(RECIPE_INVALID) with what to change."""
        return read_recipe(path, cls)
