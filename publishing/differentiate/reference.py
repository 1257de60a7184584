"""Reference of clean rows: how the rows of each class lie in a model's layers.

For the input and for the input of each fully connected layer, the rows of a class are described by
a Gaussian in the leading principal components, as `training.export.reference` does for networks
that are trained here. Only these moments of the fit slice are kept.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from publishing.differentiate.emitter import Emitter

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
# Principal components at most; and of each class's covariance, the shares that are taken from all
# classes together and from a sphere, since a class has few rows.
_COMPONENTS = 40
_POOLED = 0.5
_SPHERE = 0.15
_FAR = 1e30
_TINY = 1e-6
# With more rows the components hardly change, and a layer that is wider is left out.
MOST_ROWS = 2000
WIDEST = 1 << 14
FEATURES = 4
"""How many features each layer gives."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceLayer:
    """`mean` [D] and `basis` [D, K] lead to K components; `whitening` [K, C * K] and `center`
    [C * K] from there to where each of the C `classes` is a standard Gaussian.
    """

    classes: int
    mean: Floats
    basis: Floats
    whitening: Floats
    center: Floats

    @classmethod
    def fit(
        cls, rows: npt.NDArray[Any], y: npt.NDArray[np.int64], classes: int
    ) -> "ReferenceLayer":
        """From rows [n, D] with their classes y [n]; a class without rows is as all rows are."""
        wide = rows.astype(np.float64)
        mean = wide.mean(axis=0)
        basis = _components(wide - mean)
        z = (wide - mean) @ basis
        count = basis.shape[1]
        parts = [z[y == label] if (y == label).any() else z for label in range(classes)]
        covariances = [
            np.cov(part, rowvar=False, bias=True).reshape(count, count) for part in parts
        ]
        shares = [len(part) for part in parts]
        pooled = sum(n * own for n, own in zip(shares, covariances, strict=True)) / sum(shares)
        factors, centers = [], []
        for part, own in zip(parts, covariances, strict=True):
            mixed = (1 - _POOLED) * own + _POOLED * pooled
            sphere = np.eye(count) * (np.trace(mixed) / count + _TINY)
            precision = np.linalg.inv((1 - _SPHERE) * mixed + _SPHERE * sphere)
            factors.append(np.linalg.cholesky(precision))
            centers.append(part.mean(axis=0) @ factors[-1])
        moments = mean, basis, np.concatenate(factors, axis=1), np.concatenate(centers)
        return cls(classes, *(each.astype(np.float32) for each in moments))

    def features(self, e: Emitter, rows: str, own: str) -> list[str]:
        """How far rows [n, D] lie from the class that `own` [n, C] marks and from the next one, by
        how much the first exceeds the second, and what no component holds; each [n, 1].
        """
        tiny = e.number(_TINY)
        centered = e.op("Sub", rows, e.constant(self.mean))
        z = e.op("MatMul", centered, e.constant(self.basis))
        white = e.op("Sub", e.op("MatMul", z, e.constant(self.whitening)), e.constant(self.center))
        shape = e.integers(0, self.classes, self.basis.shape[1])
        squares = e.sum(e.op("Reshape", e.op("Mul", white, white), shape), 2, keep=False)
        near = e.sum(e.op("Where", own, squares, e.number(0.0)), 1)
        others = e.op("Where", own, e.number(_FAR), squares)
        other = e.op("ReduceMin", others, e.integers(1), keepdims=1)
        whole = e.sum(e.op("Mul", centered, centered), 1)
        rest = e.op("Sub", whole, e.sum(e.op("Mul", z, z), 1))
        if self.basis.shape[1] == len(self.mean):
            # The components hold everything, and the rest would be rounding.
            rest = e.op("Mul", whole, e.number(0.0))
        both = e.op("Add", e.op("Add", near, other), tiny)
        one = e.number(1.0)
        return [
            e.op("Log", e.op("Add", near, one)),
            e.op("Log", e.op("Add", other, one)),
            e.op("Div", e.op("Sub", near, other), e.op("Sqrt", both)),
            e.op("Sqrt", e.op("Add", e.op("Relu", rest), tiny)),
        ]


def _components(centered: Wide) -> Wide:
    """The leading principal components [D, K] of centered rows [n, D]."""
    count = min(_COMPONENTS, *centered.shape)
    if centered.shape[0] >= centered.shape[1]:
        _, vectors = np.linalg.eigh(centered.T @ centered)
        return np.ascontiguousarray(vectors[:, ::-1][:, :count])
    # Fewer rows than columns: the same from the products of the rows.
    values, vectors = np.linalg.eigh(centered @ centered.T)
    kept = vectors[:, ::-1][:, :count]
    lengths = np.sqrt(np.maximum(values[::-1][:count], _TINY))
    return centered.T @ kept / lengths
