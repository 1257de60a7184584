"""Labelled rows in three slices: to fit on, to calibrate on and to test on, read strictly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors import numpy as safetensors_numpy

from inference.model.config import ModelConfig
from inference.model.decisions import CLASSES, LABELS, NUMBERS
from inference.screening.detector import Detector
from publishing.source.folder import read_plain_file
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

SLICES = ("fit", "calibration", "test")
# The shares of the first two slices, where rows come undivided.
_FIT, _CALIBRATION = 0.5, 0.25
_INTEGERS = (np.integer, np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class DataSlice:
    """Rows `x` with their classes `y` int64 [n], numbers float32 [n, O] or labels int64 [n, L]; n
    is at least 1. The rows are float32 [n, ...], or tokens int64 [n, s] (`inference.text.tokens`),
    s being the most that the model takes.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]

    def __post_init__(self) -> None:
        if not {self.x.dtype.type, self.y.dtype.type} <= {np.float32, np.int64}:
            raise SealgateError(Reason.TENSOR_DATATYPE, f"x is {self.x.dtype}, y is {self.y.dtype}")
        dimensions = 2 if self.y.dtype == np.float32 else self.y.ndim
        if self.x.ndim < 2 or len(self.y) != len(self.x) or not self.y.size:
            raise SealgateError(Reason.TENSOR_SHAPE, f"x is {self.x.shape}, y is {self.y.shape}")
        if self.y.ndim not in (1, 2) or self.y.ndim != dimensions:
            raise SealgateError(Reason.TENSOR_SHAPE, f"y is {self.y.dtype} {self.y.shape}")
        if not np.isfinite(self.x).all() or not np.isfinite(self.y).all():
            raise SealgateError(Reason.TENSOR_NOT_FINITE)

    @property
    def kind(self) -> str:
        """The kind of the rows' answers, as `inference.model.decisions` calls it."""
        if self.y.dtype == np.float32:
            return NUMBERS
        return CLASSES if self.y.ndim == 1 else LABELS

    def halves(self) -> tuple["DataSlice", "DataSlice"]:
        """Two halves of the rows, divided by chance that is always the same: those that a response
        graph made from them keeps, and those that its detector is fitted on. A kept row is as near
        to the graph's rows as no other row is. Raises CALIBRATION_TOO_SMALL for a single row.
        """
        if len(self.x) < 2:
            raise SealgateError(Reason.CALIBRATION_TOO_SMALL, "the fit slice has one row")
        order = np.random.default_rng(0).permutation(len(self.x))
        kept, rest = np.array_split(order, 2)
        return DataSlice(self.x[kept], self.y[kept]), DataSlice(self.x[rest], self.y[rest])

    def check(self, config: ModelConfig) -> None:
        """Checks that the rows are this model's: TENSOR_DATATYPE, TENSOR_SHAPE, TENSOR_RANGE."""
        rules = config.tokens
        if (self.x.dtype == np.int64) is (rules is None):
            raise SealgateError(Reason.TENSOR_DATATYPE, f"x is {self.x.dtype}")
        if self.x.shape[1:] != (config.input.row if rules is None else (rules.most,)):
            raise SealgateError(Reason.TENSOR_SHAPE, f"rows are {self.x.shape[1:]}")
        if rules is not None:
            rules.checked(self.x)
        elif self.x.min() < config.domain.min or self.x.max() > config.domain.max:
            raise SealgateError(Reason.TENSOR_RANGE, "a row lies outside the domain")
        elif config.table is not None:
            config.table.check(self.x)
        if self.kind != config.decision.kind:
            detail = f"y has {self.kind}, and the model answers {config.decision.kind}"
            raise SealgateError(Reason.TENSOR_DATATYPE, detail)
        if self.y.ndim == 2 and self.y.shape[1] != len(config.labels):
            raise SealgateError(Reason.TENSOR_SHAPE, f"y is {self.y.shape}")
        if self.kind == NUMBERS:
            return
        if self.y.min() < 0 or self.y.max() >= (len(config.labels) if self.y.ndim == 1 else 2):
            raise SealgateError(Reason.TENSOR_RANGE, "a class has no label")


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Three disjoint slices; `digest` and `size` are those of the file they came from. `traffic`
    are features [n, F] that an earlier version's screening measured of its traffic, to set the
    thresholds on in the place of the calibration slice, each row's once; `vectors` is how many they
    were with their repeats. `earlier` is that version's detector, whose first stage, if it has one,
    decided what was measured of each row.
    """

    fit: DataSlice
    calibration: DataSlice
    test: DataSlice
    digest: str
    size: int
    traffic: npt.NDArray[np.float32] | None = None
    earlier: Detector | None = None
    vectors: int = 0

    @classmethod
    def read(cls, path: Path) -> "Dataset":
        return cls.decode(read_plain_file(path))

    @classmethod
    def decode(cls, data: bytes) -> "Dataset":
        """The slices in a safetensors file's bytes, or `x` and `y`, which are divided.

        Raises: FORMAT_REFUSED (also where a tensor lacks or is one too many), TENSOR_DATATYPE,
        TENSOR_SHAPE, TENSOR_NOT_FINITE.
        """
        try:
            tensors = safetensors_numpy.load(data)
        except safetensors.SafetensorError as error:
            raise SealgateError(Reason.FORMAT_REFUSED, "not a safetensors file") from error
        if tensors.keys() == {"x", "y"}:
            tensors = _divided(tensors["x"], tensors["y"])
        names = {f"{part}_{name}" for part in "xy" for name in SLICES}
        if names - tensors.keys():
            raise SealgateError(Reason.FORMAT_REFUSED, f"no {sorted(names - tensors.keys())}")
        if tensors.keys() - names:
            raise SealgateError(Reason.FORMAT_REFUSED, f"surplus {sorted(tensors.keys() - names)}")
        fit, calibration, test = (DataSlice(tensors[f"x_{n}"], tensors[f"y_{n}"]) for n in SLICES)
        return cls(fit, calibration, test, sha256(data), len(data))

    @classmethod
    def divided(cls, x: npt.NDArray[Any], y: npt.NDArray[Any], data: bytes) -> "Dataset":
        """Rows and their answers, which came in a file of these bytes, divided into slices."""
        tensors = _divided(x, y)
        fit, calibration, test = (DataSlice(tensors[f"x_{n}"], tensors[f"y_{n}"]) for n in SLICES)
        return cls(fit, calibration, test, sha256(data), len(data))

    def check(self, config: ModelConfig) -> None:
        """Checks that the rows are this model's: TENSOR_SHAPE, TENSOR_RANGE."""
        for part in (self.fit, self.calibration, self.test):
            part.check(config)


def _divided(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Three slices of rows and their classes, numbers or labels, in a random order that is always
    the same.
    """
    real = np.issubdtype(y.dtype, np.floating)
    whole = any(np.issubdtype(y.dtype, kind) for kind in _INTEGERS)
    if x.shape[:1] != y.shape[:1] or y.ndim not in (1, 2) or not (real or whole):
        raise SealgateError(Reason.TENSOR_SHAPE, f"x is {x.shape}, y is {y.dtype} {y.shape}")
    y = y.reshape(len(y), -1).astype(np.float32) if real else y.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    ends = [int(_FIT * len(x)), int((_FIT + _CALIBRATION) * len(x))]
    found: dict[str, npt.NDArray[Any]] = {}
    for name, places in zip(SLICES, np.split(order, ends), strict=True):
        found[f"x_{name}"] = x[places].astype(np.float32)
        found[f"y_{name}"] = y[places]
    return found


def doubt_of(test: DataSlice, accuracy: float) -> str:
    """The question to a publisher whose model is right less often than one that always names the
    commonest class; empty for others.
    """
    if test.kind != CLASSES:
        return ""
    _, counts = np.unique(test.y, return_counts=True)
    if accuracy >= counts.max() / counts.sum():
        return ""
    return f"{accuracy:.0%} of the test rows are right: do the data's x and y belong together?"
