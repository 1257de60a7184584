"""How the calibration rows fill the bins of each column, and how far other rows are from that.

The field `inputs` of `detector.json`: for each column of one-dimensional rows the inner bounds of
its bins, at tenths of the calibration rows, and the share of these in each bin. A value belongs to
the first bin whose bound it does not exceed. Versions of earlier releases lack it.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sealgate.trust import fields

MOST_COLUMNS = 256
_BINS = 10
# A bin that nothing falls into would make the index infinite.
_LEAST_SHARE = 1e-4
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ColumnBins:
    """`bounds` and `shares` of each column. Raises SealgateError(DOCUMENT_MALFORMED)."""

    bounds: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]
    _bounds: Floats = field(init=False, repr=False, compare=False)
    _shares: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.bounds) == len(self.shares) <= MOST_COLUMNS:
            raise fields.malformed("each column has bounds and shares")
        for bounds, shares in zip(self.bounds, self.shares, strict=True):
            if len(shares) != len(bounds) + 1 or not len(bounds) < _BINS:
                raise fields.malformed("a column has a bin more than bounds")
            if any(not before < after for before, after in pairwise(bounds)):
                raise fields.malformed("bounds grow")
            if min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
                raise fields.malformed("shares add up to 1")
        object.__setattr__(self, "_bounds", _padded(self.bounds, _BINS - 1, np.inf))
        object.__setattr__(self, "_shares", _padded(self.shares, _BINS, 0.0))

    @classmethod
    def of(cls, rows: npt.NDArray[Any]) -> Self | None:
        """The bins of rows [n, F]; None of rows of another form, or of very many columns."""
        if rows.ndim != 2 or rows.dtype.kind != "f" or not 1 <= rows.shape[1] <= MOST_COLUMNS:
            return None
        tenths = np.arange(1, _BINS) / _BINS
        bounds, shares = [], []
        for column in rows.astype(np.float64).T:
            found = np.unique(np.quantile(column, tenths, method="inverted_cdf"))
            own = found[found < column.max()]
            counts = np.bincount(np.searchsorted(own, column), minlength=len(own) + 1)
            bounds.append(tuple(own.tolist()))
            shares.append(tuple((counts / len(column)).tolist()))
        return cls(tuple(bounds), tuple(shares))

    def count(self, rows: npt.NDArray[np.floating[Any]]) -> Counts:
        """How many of the rows [n, F] fall into each bin [F, 10]."""
        columns = len(self.bounds)
        place = (rows[:, :, None] > self._bounds).sum(axis=2) + np.arange(columns) * _BINS
        return np.bincount(place.ravel(), minlength=columns * _BINS).reshape(columns, _BINS)

    def psi(self, counts: Counts) -> Floats:
        """The population stability index of each column [F]."""
        seen = np.maximum(counts / counts.sum(axis=1, keepdims=True), _LEAST_SHARE)
        expected = np.maximum(self._shares, _LEAST_SHARE)
        there = np.arange(_BINS) < np.array([len(shares) for shares in self.shares])[:, None]
        return np.asarray(((seen - expected) * np.log(seen / expected) * there).sum(axis=1))

    def ks(self, counts: Counts) -> Floats:
        """The Kolmogorov-Smirnov distance of each column [F], at the bounds of its bins."""
        seen = counts / counts.sum(axis=1, keepdims=True)
        return np.asarray(np.abs((seen - self._shares).cumsum(axis=1)).max(axis=1))

    def value(self) -> list[dict[str, Any]]:
        """The field's JSON value."""
        return [
            {"bounds": list(bounds), "shares": list(shares)}
            for bounds, shares in zip(self.bounds, self.shares, strict=True)
        ]

    @classmethod
    def read(cls, value: Any) -> Self:
        columns = [fields.record(item, ("bounds", "shares")) for item in fields.items(value)]
        return cls(
            tuple(_numbers(column["bounds"]) for column in columns),
            tuple(_numbers(column["shares"]) for column in columns),
        )


def _numbers(value: Any) -> tuple[float, ...]:
    found = fields.items(value)
    if any(type(each) not in (int, float) for each in found):
        raise fields.malformed("a number is expected")
    return tuple(map(float, found))


def _padded(columns: tuple[tuple[float, ...], ...], width: int, rest: float) -> Floats:
    found = np.full((len(columns), width), rest)
    for place, column in enumerate(columns):
        found[place, : len(column)] = column
    return found
