"""Reference of clean rows: how the rows of each class lie in a model's layers.

For the input and for the input of each fully connected layer, the rows of a class are described by
a Gaussian in the leading principal components, as `training.export.reference` does for networks
that are trained here. Of the input, the components of some rows of each class are kept as well:
the nearest one of the own class against the nearest of another. The fit slice leaves no more.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from publishing.differentiate.graphs import Emitter

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
# Of each class's covariance, the shares that are taken from all classes together and from a sphere,
# since a class has few rows.
_POOLED = 0.5
_SPHERE = 0.15
_FAR = 1e30
# In each component; its square times so many components is a float32.
_AWAY = 1e12
_TINY = 1e-6
# With more rows the components hardly change, and a layer that is wider is left out.
MOST_ROWS = 2000
WIDEST = 1 << 14
# Compared are the nearest row and the so-many-th.
NEIGHBOURS = 5
# On Fashion-MNIST, 100 components and 256 rows told attacks apart better than 40 and 64, and 150
# components refused more honest rows.
_FEW_CLASSES, _MOST_COMPONENTS, _MOST_KEPT, _LEAST_KEPT = 64, 100, 256, 64


@dataclass(frozen=True, slots=True)
class ReferenceSize:
    """How many principal components describe a layer at most, and how many rows of each class are
    kept to compare with.
    """

    components: int = 40
    kept: int = 0

    @classmethod
    def of_input(cls, width: int, classes: int) -> "ReferenceSize":
        """Of rows with `width` numbers. Work and file grow with the classes, so many have less."""
        if classes > _FEW_CLASSES:
            return cls(kept=_LEAST_KEPT)
        # Moves that are like no row show in what no component holds, to which wide rows leave three
        # eighths of their numbers.
        count = min(_MOST_COMPONENTS, width * 5 // 8)
        return cls(max(cls().components, count), _MOST_KEPT)


HIDDEN_LAYER = ReferenceSize()
"""Of the input of a fully connected layer."""


def class_points(z: Wide, y: npt.NDArray[np.int64], classes: int, kept: int) -> Wide:
    """Of rows z [n, K] of classes y [n] the first ones of each class, [C * P, K], class by class; P
    is `kept` at most. A class without rows is as all rows are. One with fewer than `NEIGHBOURS` has
    each several times, and one with fewer than the largest is filled up by points that are near to
    nothing.
    """
    parts = [z[y == label] if (y == label).any() else z for label in range(classes)]
    parts = [part[np.arange(max(len(part), NEIGHBOURS)) % len(part)][:kept] for part in parts]
    points = np.full((classes, max(map(len, parts)), z.shape[1]), _AWAY)
    for place, part in zip(points, parts, strict=True):
        place[: len(part)] = part
    return points.reshape(-1, z.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceLayer:
    """`mean` [D] and `basis` [D, K] lead to K components; `whitening` [K, C * K] and `center`
    [C * K] from there to where each of the C `classes` is a standard Gaussian. `points` [C * P, K]
    are rows of the classes, if they are kept.
    """

    classes: int
    mean: Floats
    basis: Floats
    whitening: Floats
    center: Floats
    points: Floats | None = None

    @classmethod
    def fit(
        cls,
        rows: npt.NDArray[Any],
        y: npt.NDArray[np.int64],
        classes: int,
        size: ReferenceSize = HIDDEN_LAYER,
    ) -> "ReferenceLayer":
        """From rows [n, D] with their classes y [n]; a class without rows is as all rows are."""
        wide = rows.astype(np.float64)
        mean = wide.mean(axis=0)
        basis = _components(wide - mean, size.components)
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
        moments = [mean, basis, np.concatenate(factors, axis=1), np.concatenate(centers)]
        if size.kept:
            moments.append(class_points(z, y, classes, size.kept))
        return cls(classes, *(each.astype(np.float32) for each in moments))

    @property
    def width(self) -> int:
        """How many features it gives."""
        return 4 if self.points is None else 10

    def features(self, e: Emitter, rows: str, own: str) -> list[str]:
        """How far rows [n, D] lie from the class that `own` [n, C] marks and from the next one, by
        how much the first exceeds the second, and what no component holds; the first three again
        from the nearest points, and from those that are `NEIGHBOURS` away; each [n, 1].
        """
        centered = e.op("Sub", rows, e.constant(self.mean))
        z = e.op("MatMul", centered, e.constant(self.basis))
        white = e.op("Sub", e.op("MatMul", z, e.constant(self.whitening)), e.constant(self.center))
        shape = e.integers(0, self.classes, self.basis.shape[1])
        squares = e.sum(e.op("Reshape", e.op("Mul", white, white), shape), 2, keep=False)
        length, whole = (e.sum(e.op("Mul", each, each), 1) for each in (z, centered))
        rest = e.op("Sub", whole, length)
        if self.basis.shape[1] == len(self.mean):
            # The components hold everything, and the rest would be rounding.
            rest = e.op("Mul", whole, e.number(0.0))
        rest = e.op("Sqrt", e.op("Add", e.op("Relu", rest), e.number(_TINY)))
        found = [*_between(e, squares, own), rest]
        if self.points is not None:
            for away in self._neighbours(e, z, length):
                found += _between(e, away, own)
        return found

    def _neighbours(self, e: Emitter, z: str, length: str) -> list[str]:
        """The squares [n, C] of the distances from z [n, K], of squared length [n, 1], to each
        class's nearest point, and to the last of its `NEIGHBOURS` nearest.
        """
        points = self.points if self.points is not None else np.zeros((0, len(self.basis.T)))
        product = e.op("MatMul", z, e.constant((-2 * points.T).astype(np.float32)))
        lengths = e.constant((points * points).sum(axis=1).astype(np.float32))
        squares = e.op("Relu", e.op("Add", e.op("Add", product, lengths), length))
        shape = e.integers(0, self.classes, len(points) // self.classes)
        each = e.op("Reshape", squares, shape)
        ranked, _ = e.several("TopK", (each, e.integers(NEIGHBOURS)), 2, axis=2, largest=0)
        return [
            e.op("Gather", ranked, e.constant(np.array(at, np.int64)), axis=2)
            for at in (0, NEIGHBOURS - 1)
        ]


def _between(e: Emitter, squares: str, own: str) -> list[str]:
    """Of squared distances [n, C] to classes the own one's and the next one's, and by how much the
    first exceeds the second.
    """
    near = e.sum(e.op("Where", own, squares, e.number(0.0)), 1)
    others = e.op("Where", own, e.number(_FAR), squares)
    other = e.op("ReduceMin", others, e.integers(1), keepdims=1)
    both = e.op("Add", e.op("Add", near, other), e.number(_TINY))
    one = e.number(1.0)
    return [
        e.op("Log", e.op("Add", near, one)),
        e.op("Log", e.op("Add", other, one)),
        e.op("Div", e.op("Sub", near, other), e.op("Sqrt", both)),
    ]


def _components(centered: Wide, most: int) -> Wide:
    """The leading principal components [D, K] of centered rows [n, D], K of them at most `most`."""
    count = min(most, *centered.shape)
    if centered.shape[0] >= centered.shape[1]:
        _, vectors = np.linalg.eigh(centered.T @ centered)
        return np.ascontiguousarray(vectors[:, ::-1][:, :count])
    # Fewer rows than columns: the same from the products of the rows.
    values, vectors = np.linalg.eigh(centered @ centered.T)
    kept = vectors[:, ::-1][:, :count]
    lengths = np.sqrt(np.maximum(values[::-1][:count], _TINY))
    return centered.T @ kept / lengths
