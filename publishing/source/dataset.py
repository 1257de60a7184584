"""The rows with which a version is fitted, calibrated and tested: slices of one safetensors file.

The tensors are `x_fit`, `y_fit`, `x_calibration`, `y_calibration`, `x_test` and `y_test`. The
slices are disjoint: ranges and the detector are fitted on the first, thresholds are set on the
second, and reported figures are measured on the third.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors import numpy as safetensors_numpy

from inference.model.config import ModelConfig
from inference.screening.detector import Detector
from publishing.source.folder import read_plain_file
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

SLICES = ("fit", "calibration", "test")


@dataclass(frozen=True, slots=True, eq=False)
class DataSlice:
    """Rows `x` with their classes `y` int64 [n]; n is at least 1. The rows are float32 [n, ...], or
    tokens int64 [n, s] (`inference.text.tokens`), s being the most that the model takes.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.x.dtype not in (np.float32, np.int64) or self.y.dtype != np.int64:
            raise SealgateError(Reason.TENSOR_DATATYPE, f"x is {self.x.dtype}, y is {self.y.dtype}")
        if self.x.ndim < 2 or self.y.shape != self.x.shape[:1] or not self.y.size:
            raise SealgateError(Reason.TENSOR_SHAPE, f"x is {self.x.shape}, y is {self.y.shape}")
        if not np.isfinite(self.x).all():
            raise SealgateError(Reason.TENSOR_NOT_FINITE)

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
        if self.y.min() < 0 or self.y.max() >= len(config.labels):
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
        """The slices in a safetensors file's bytes.

        Raises: FORMAT_REFUSED (also where a tensor lacks or is one too many), TENSOR_DATATYPE,
        TENSOR_SHAPE, TENSOR_NOT_FINITE.
        """
        try:
            tensors = safetensors_numpy.load(data)
        except safetensors.SafetensorError as error:
            raise SealgateError(Reason.FORMAT_REFUSED, "not a safetensors file") from error
        names = {f"{part}_{name}" for part in "xy" for name in SLICES}
        if names - tensors.keys():
            raise SealgateError(Reason.FORMAT_REFUSED, f"no {sorted(names - tensors.keys())}")
        if tensors.keys() - names:
            raise SealgateError(Reason.FORMAT_REFUSED, f"surplus {sorted(tensors.keys() - names)}")
        fit, calibration, test = (DataSlice(tensors[f"x_{n}"], tensors[f"y_{n}"]) for n in SLICES)
        return cls(fit, calibration, test, sha256(data), len(data))

    def check(self, config: ModelConfig) -> None:
        """Checks that the rows are this model's: TENSOR_SHAPE, TENSOR_RANGE."""
        for part in (self.fit, self.calibration, self.test):
            part.check(config)
