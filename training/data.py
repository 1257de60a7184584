"""The data of a run and its files: rows in disjoint slices, and what `model.json` says of them.

Files are written whole or not at all, by one run at a time. A full disk is reported as such.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

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
    """A source's rows x [n, ...] (float32, or tokens int64 [n, s]) with classes y [n].

    `names` has the name of each class, `files` the digest of each file that was read, by name;
    `columns` is what a table's hold, where that is to be stated. Where rows are windows, `texts`
    [n] has the number of the text that each is of, from 0 on. Of `only_train`, for each text, only
    the train slice takes those that are so marked.
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
    only_train: npt.NDArray[np.bool_] | None = None

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
    def cut(
        cls, read: SourceRows, asked: SliceSizes, sought: str = "", untrained: bool = False
    ) -> "RunData":
        """Shuffle and cut. Of a text of the class `sought` nobody knows which of its windows is of
        that class: they lose their labels, or outside of `train` are left out. With `untrained`,
        nothing is trained on these rows, and `train` may lack classes.

        Raises TRAINING_DATA where a slice or a class comes out empty.
        """
        sizes = {TRAIN: asked.train, "fit": asked.fit, CALIBRATION: asked.calibration}
        if len(read.names) == 1:
            raise _unfit(f"all rows are of class {read.names[0]!r}")
        count = int(read.numbers.max(initial=-1)) + 1
        if count <= sum(sizes.values()):
            raise _unfit(f"{count} rows leave none for the test slice")
        turns = _turns(read.only_train, count, asked.train)[read.numbers]
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
            if not untrained and not (y[places[TRAIN]] == at).any():
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


def _turns(
    only_train: npt.NDArray[np.bool_] | None, count: int, train: int
) -> npt.NDArray[np.int64]:
    """When each text has its turn; those first that the train slice takes."""
    draw = np.random.default_rng(_ORDER_SEED)
    turns = np.argsort(draw.permutation(count))
    if only_train is None or not only_train.any():
        return turns
    room = train - int(only_train.sum())
    if room < 0:
        raise _unfit(f"{train - room} rows are for the train slice alone, which takes {train}")
    others = np.flatnonzero(~only_train)
    in_train = only_train.copy()
    in_train[others[np.argsort(turns[others])[:room]]] = True
    # Both kinds are in each part of the slice.
    return np.argsort(np.lexsort((draw.permutation(count), ~in_train)))


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


_LOCK, _UNFINISHED = ".sealgate-run", ".new"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# torch and safetensors tell of a failed write in their own words.
_SAYINGS = ("No space left", "File too large", "failed writing", "unexpected pos")


@contextmanager
def storing() -> Iterator[None]:
    """Raises SealgateError(STORAGE_FULL) where there is no room for what is written inside."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise SealgateError(Reason.STORAGE_FULL, str(error.filename or "")) from error
        raise
    except (RuntimeError, SafetensorError) as error:
        if any(saying in str(error) for saying in _SAYINGS):
            raise SealgateError(Reason.STORAGE_FULL) from error
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there with all of its bytes or not at all. Raises STORAGE_FULL."""
    aside = path.with_name(path.name + _UNFINISHED)
    with storing():
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, durably; what a kill cut short before stays a line of its own. Raises
    STORAGE_FULL.
    """
    with storing(), path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read() == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def made_whole(folder: Path, mode: int = 0o777) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its place when the block has ended well;
    else nothing of it stays. Raises STORAGE_FULL.
    """
    with storing():
        folder.parent.mkdir(parents=True, exist_ok=True)
        around = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        aside = around / folder.name
        with storing():
            aside.mkdir(mode)
        yield aside
        with storing():
            aside.rename(folder)
    finally:
        shutil.rmtree(around, ignore_errors=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder where it is missing, and keep other runs of this machine out of it.

    Raises: STORAGE_FULL; RUN_FOREIGN where another run is at work in it.
    """
    place = folder / _LOCK
    with storing():
        folder.mkdir(parents=True, exist_ok=True)
        lock = place.open("ab")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SealgateError(Reason.RUN_FOREIGN, f"another run is at work in {folder}") from None
        if not os.fstat(lock.fileno()).st_nlink:
            # Its holder has just ended.
            raise SealgateError(Reason.RUN_FOREIGN, f"another run was at work in {folder}")
        try:
            yield
        finally:
            place.unlink(missing_ok=True)


def is_bare(folder: Path, first: str = "") -> bool:
    """Whether a folder that is held has nothing in it, but for what a run leaves that was ended
    before it had written its file `first`.
    """
    return {entry.name for entry in folder.iterdir()} <= {_LOCK, first + _UNFINISHED}


Weights = npt.NDArray[np.float32]
_NAME = "weights"


def read_weights(path: Path) -> Weights:
    return np.asarray(load_file(path)[_NAME], np.float32)


def write_weights(path: Path, weights: Weights) -> None:
    """Raises STORAGE_FULL."""
    write_whole(path, save({_NAME: weights}))
