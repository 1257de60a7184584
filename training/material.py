"""What a recipe's data come to: rows in slices that never meet, and what the model says of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.columns import Column
from inference.model_config import UNBOUNDED, Domain, InputScaling
from inference.tokens import TokenRules
from sealgate.reasons import Reason, Refusal
from training.recipe import DataRows

NO_LABEL = -1
PUBLISHED = ("fit", "calibration", "test")
TRAIN = "train"
# The same cut for every seed, so that runs of several seeds are tested on the same rows.
_ORDER_SEED = 20261125
Rows = npt.NDArray[Any]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What a source holds: rows x [n, ...] (float32, or tokens int64 [n, s]) with classes y [n].

    `names` has the name of each class, `files` the digest of each file that was read, by name;
    `columns` is what a table's hold, where that is to be stated.
    """

    x: Rows
    y: Classes
    names: tuple[str, ...]
    title: str
    license: str
    files: Mapping[str, str]
    domain: Domain = UNBOUNDED
    scaling: InputScaling | None = None
    tokens: TokenRules | None = None
    tokenizer: bytes | None = None
    columns: tuple[Column, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Slices by name, `train` and those of PUBLISHED; a withheld label of `train` is NO_LABEL."""

    read: Read
    slices: Mapping[str, tuple[Rows, Classes]]

    @classmethod
    def cut(cls, read: Read, asked: DataRows) -> "Material":
        """Shuffle and cut. Raises TRAINING_DATA where a slice or a class comes out empty."""
        sizes = {TRAIN: asked.train, "fit": asked.fit, "calibration": asked.calibration}
        if len(read.x) <= sum(sizes.values()):
            raise _unfit(f"{len(read.x)} rows leave none for the test slice")
        order = np.random.default_rng(_ORDER_SEED).permutation(len(read.x))
        places = np.split(order, np.cumsum(list(sizes.values())))
        slices = {
            name: (read.x[at], read.y[at])
            for name, at in zip((*sizes, "test"), places, strict=True)
        }
        x, y = slices[TRAIN]
        y = np.where(np.arange(len(y)) < (asked.labels or asked.train), y, NO_LABEL)
        for at, name in enumerate(read.names):
            if not (y == at).any():
                raise _unfit(f"class {name!r} has no labelled row in the train slice")
        return cls(read, slices | {TRAIN: (x, y)})

    @property
    def labelled(self) -> tuple[Rows, Classes]:
        """The rows of the train slice that have a label."""
        x, y = self.slices[TRAIN]
        return x[y != NO_LABEL], y[y != NO_LABEL]

    def published(self) -> dict[str, Rows]:
        """The tensors of the file that `sealgate model publish --data` takes."""
        named: dict[str, Rows] = {}
        for name in PUBLISHED:
            x, y = self.slices[name]
            named |= {f"x_{name}": np.ascontiguousarray(x), f"y_{name}": y}
        return named


def _unfit(detail: str) -> Refusal:
    return Refusal(Reason.TRAINING_DATA, detail)
