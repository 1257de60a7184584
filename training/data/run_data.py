"""The data of a run: rows in disjoint slices, and what `model.json` says about them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.model.columns import Column
from inference.model.config import UNBOUNDED, InputDomain, InputScaling
from inference.text.tokens import TokenRules
from sealgate.reasons import Reason, SealgateError
from training.recipe.recipe import SliceSizes

NO_LABEL = -1
TRAIN, CALIBRATION = "train", "calibration"
PUBLISHED = ("fit", CALIBRATION, "test")
# The same cut for every seed, so that runs of several seeds are tested on the same rows.
_ORDER_SEED = 20261125
Rows = npt.NDArray[Any]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SourceRows:
    """What a source holds: rows x [n, ...] (float32, or tokens int64 [n, s]) with classes y [n].

    `names` has the name of each class, `files` the digest of each file that was read, by name;
    `columns` is what a table's hold, where that is to be stated. Where rows are windows, `texts`
    [n] has the number of the text that each is of, from 0 on.
    """

    x: Rows
    y: Classes
    names: tuple[str, ...]
    title: str
    license: str
    files: Mapping[str, str]
    domain: InputDomain = UNBOUNDED
    scaling: InputScaling | None = None
    tokens: TokenRules | None = None
    tokenizer: bytes | None = None
    columns: tuple[Column, ...] = ()
    texts: Classes | None = None

    @property
    def numbers(self) -> Classes:
        """Of which text each row [n] is; one that is no window is one of its own."""
        return np.arange(len(self.x)) if self.texts is None else self.texts


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """Slices by name, `train` and those of PUBLISHED; a withheld label of `train` is NO_LABEL."""

    read: SourceRows
    slices: Mapping[str, tuple[Rows, Classes]]
    texts: Mapping[str, Classes] = field(default_factory=dict)
    """Of rows that are windows, in each slice the number of the text that each is of."""

    @classmethod
    def cut(cls, read: SourceRows, asked: SliceSizes, sought: str = "") -> "RunData":
        """Shuffle and cut. Of a text of the class `sought` nobody knows which of its windows is of
        that class: they lose their labels, or outside of `train` are left out.

        Raises TRAINING_DATA where a slice or a class comes out empty.
        """
        sizes = {TRAIN: asked.train, "fit": asked.fit, CALIBRATION: asked.calibration}
        if len(read.names) == 1:
            raise _unfit(f"all rows are of class {read.names[0]!r}")
        count = int(read.numbers.max(initial=-1)) + 1
        if count <= sum(sizes.values()):
            raise _unfit(f"{count} rows leave none for the test slice")
        # When the text of each row has its turn.
        turns = np.argsort(np.random.default_rng(_ORDER_SEED).permutation(count))[read.numbers]
        order = np.argsort(turns, kind="stable")
        ends = np.searchsorted(turns[order], np.cumsum(list(sizes.values())))
        places = dict(zip((*sizes, "test"), np.split(order, ends), strict=True))
        y = _known(read, sought)
        places = {
            name: at if name == TRAIN else at[y[at] != NO_LABEL] for name, at in places.items()
        }
        y = np.where(
            turns < (asked.labels or asked.train), y, np.where(turns < asked.train, NO_LABEL, y)
        )
        for at, name in enumerate(read.names):
            if not (y[places[TRAIN]] == at).any():
                raise _unfit(f"class {name!r} has no labelled row in the train slice")
        for name, rows in places.items():
            if not len(rows):
                raise _unfit(f"the {name} slice is empty")
        slices = {name: (read.x[at], y[at]) for name, at in places.items()}
        return cls(read, slices, {name: read.numbers[at] for name, at in places.items()})

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


def _known(read: SourceRows, sought: str) -> Classes:
    """The classes of all rows, but for windows that may be of `sought` or not."""
    if sought not in read.names:
        return read.y
    alone = np.bincount(read.numbers)[read.numbers] == 1
    return np.where(alone | (read.y != read.names.index(sought)), read.y, NO_LABEL)


def _unfit(detail: str) -> SealgateError:
    return SealgateError(Reason.TRAINING_DATA, detail)


def vocabulary_size(tokenizer: bytes) -> int:
    """One more than the largest id of a tokenizer in the library's format."""
    try:
        document = json.loads(tokenizer)
        vocabulary = document["model"]["vocab"]
        if isinstance(vocabulary, list):
            return len(vocabulary)
        added = [item["id"] for item in document.get("added_tokens", ())]
        return 1 + max([*vocabulary.values(), *added])
    except (ValueError, KeyError, TypeError) as error:
        raise SealgateError(Reason.FORMAT_REFUSED, "not a tokenizer.json") from error
