"""Reference of clean rows: how the rows of each class lie in a model's layers.

A row that an attack has carried over a boundary is answered as one class and looks, before the
boundary, like another (Lee et al., arXiv 1807.03888; Papernot and McDaniel, arXiv 1803.04765). For
the input and for the input of each fully connected layer, the rows of a class are described by a
Gaussian in the leading principal components. Of the input, the components of some rows of each
class are kept as well, and the nearest ones compared. The training rows leave no more than these.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from publishing.differentiate import HIDDEN_LAYER, NEIGHBOURS, ReferenceSize, class_points

# Of each class's covariance, the shares that are taken from all classes together and from a sphere,
# since a class has few rows.
_POOLED = 0.5
_SPHERE = 0.15
_PREFIX = "reference"
_POINTS = f"{_PREFIX}.points"
_FAR = 1e30
_TINY = 1e-6
FEATURES = 4
"""How many features each layer gives; points give more."""


@dataclass(frozen=True, slots=True)
class TorchReferenceLayer:
    """`mean` [D] and `basis` [D, K] lead to K components; `whitening` [K, C * K] and `center`
    [C * K] from there to where each class is a standard Gaussian.
    """

    mean: torch.Tensor
    basis: torch.Tensor
    whitening: torch.Tensor
    center: torch.Tensor

    @classmethod
    def fit(
        cls,
        rows: torch.Tensor,
        y: torch.Tensor,
        classes: int,
        size: ReferenceSize = HIDDEN_LAYER,
    ) -> Self:
        """From rows [n, D] with their classes y [n], of which each has one row at least."""
        rows = rows.double()
        mean = rows.mean(0)
        count = min(size.components, *rows.shape)
        basis = torch.linalg.svd(rows - mean, full_matrices=False).Vh[:count].T
        z = (rows - mean) @ basis
        parts = [z[y == label] for label in range(classes)]
        covariances = [_covariance(part) for part in parts]
        pooled = torch.stack(
            [len(part) / len(z) * each for part, each in zip(parts, covariances, strict=True)]
        ).sum(0)
        factors, centers = [], []
        for part, own in zip(parts, covariances, strict=True):
            mixed = (1 - _POOLED) * own + _POOLED * pooled
            sphere = torch.eye(count) * (mixed.trace() / count + _TINY)
            precision = torch.linalg.inv((1 - _SPHERE) * mixed + _SPHERE * sphere)
            factors.append(torch.linalg.cholesky(precision))
            centers.append(part.mean(0) @ factors[-1])
        found = mean, basis, torch.cat(factors, 1), torch.cat(centers)
        return cls(*(each.float().contiguous() for each in found))

    @property
    def classes(self) -> int:
        return self.whitening.shape[1] // self.whitening.shape[0]

    def squares(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The squared distances [n, C] of rows [n, D] from each class, and of what no component
        holds [n, 1].
        """
        centered = rows - self.mean
        z = centered @ self.basis
        white = torch.addmm(-self.center, z, self.whitening)
        by_class = (white * white).unflatten(1, (self.classes, -1)).sum(-1)
        whole, held = ((each * each).sum(1, keepdim=True) for each in (centered, z))
        return by_class, whole - held


@dataclass(frozen=True, slots=True)
class ClassPoints:
    """Rows of the C classes as a layer's components, [C * P, K]: as many of each."""

    points: torch.Tensor

    def squares(self, layer: TorchReferenceLayer, rows: torch.Tensor) -> list[torch.Tensor]:
        """The squared distances [n, C] of rows [n, D] from the nearest point of each class, and
        from the last of the `NEIGHBOURS` nearest.
        """
        z = (rows - layer.mean) @ layer.basis
        length, lengths = ((each * each).sum(1) for each in (z, self.points))
        squares = (length[:, None] + lengths - 2 * z @ self.points.T).clamp(min=0)
        each = squares.unflatten(1, (layer.classes, -1))
        ranked = each.topk(NEIGHBOURS, -1, largest=False).values
        return [ranked[..., 0], ranked[..., -1]]


def distance_features(
    squares: Sequence[torch.Tensor], rests: Sequence[torch.Tensor], own: torch.Tensor
) -> torch.Tensor:
    """Of each group of squared distances [n, C] those of the class that `own` [n, C] marks, of the
    next one, and by how much the first exceeds the second; and what no component of each layer
    holds, from [n, 1]: all firsts, all seconds, and so on, [n, 3 G + L]. All groups share the
    operators, of which each takes about as long for one.
    """
    groups, own = torch.stack(list(squares), 1), own[:, None]
    near = torch.where(own, groups, 0.0).sum(2)
    other = torch.where(own, _FAR, groups).amin(2)
    distances = torch.cat([near, other], 1)
    difference, both = near - other, near + other
    rest = torch.cat(list(rests), 1).clamp(min=0)
    roots = (torch.cat([both, rest], 1) + _TINY).sqrt()
    count = len(squares)
    return torch.cat([(distances + 1).log(), difference / roots[:, :count], roots[:, count:]], 1)


@dataclass(frozen=True, slots=True)
class CleanReference:
    """The layers that are watched, by name and moments; for rows of numbers, the input is the first
    and has `points`.
    """

    layers: tuple[TorchReferenceLayer, ...]
    points: ClassPoints | None = None

    @classmethod
    def fit(
        cls,
        layers: Sequence[torch.Tensor],
        y: npt.NDArray[np.int64],
        classes: int,
        *,
        points: bool = False,
    ) -> Self:
        """From each layer's training rows [n, D] with their classes y [n]; each class has rows.
        With `points` of the first layer.
        """
        labels = torch.from_numpy(y)
        sizes = [HIDDEN_LAYER] * len(layers)
        if points:
            sizes[0] = ReferenceSize.of_input(layers[0].shape[1], classes)
        found = tuple(
            TorchReferenceLayer.fit(each, labels, classes, size)
            for each, size in zip(layers, sizes, strict=True)
        )
        if not points:
            return cls(found)
        z = (layers[0].double() - found[0].mean) @ found[0].basis.double()
        kept = class_points(z.numpy(), y, classes, sizes[0].kept)
        return cls(found, ClassPoints(torch.from_numpy(kept).float()))

    @classmethod
    def of_rows(
        cls, module: torch.nn.Module, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]
    ) -> Self:
        """From training rows x [n, ...] with their classes y [n] and a classifier of them."""
        rows = torch.from_numpy(x)
        with torch.no_grad(), watched(module) as entered:
            classes = module(rows).shape[1]
            layers = [rows.flatten(1), *behind(rows, entered)]
        return cls.fit(layers, y, classes, points=True)

    def state(self) -> dict[str, torch.Tensor]:
        """Its tensors by the names that they have in a graph."""
        found = {
            f"{_PREFIX}.{at}.{each.name}": getattr(layer, each.name)
            for at, layer in enumerate(self.layers)
            for each in fields(TorchReferenceLayer)
        }
        return found if self.points is None else {**found, _POINTS: self.points.points}

    @classmethod
    def of(cls, state: Mapping[str, torch.Tensor]) -> Self:
        """From what `state` gave, or the tensors that replace it while a graph is traced."""
        names = [each.name for each in fields(TorchReferenceLayer)]
        layers = tuple(
            TorchReferenceLayer(*(state[f"{_PREFIX}.{at}.{name}"] for name in names))
            for at in range(len(state) // len(names))
        )
        return cls(layers, ClassPoints(state[_POINTS]) if _POINTS in state else None)

    def features(self, layers: Sequence[torch.Tensor], own: torch.Tensor) -> torch.Tensor:
        """Those of each of these layers, those of the points after the first: [n, ·]."""
        parts = [layer.squares(rows) for layer, rows in zip(self.layers, layers, strict=True)]
        squares, rests = (list(each) for each in zip(*parts, strict=True))
        if self.points is not None:
            squares[1:1] = self.points.squares(self.layers[0], layers[0])
        found = distance_features(squares, rests, own)
        return found.index_select(1, self._order(len(squares)))

    def _order(self, groups: int) -> torch.Tensor:
        """The columns of `distance_features` in the order of features: each group's distances, and
        behind those of a layer what its components do not hold.
        """
        # Groups 1 to `points` are of the points, all others of a layer each.
        points = groups - len(self.layers)
        order: list[int] = []
        for group in range(groups):
            order += [group, groups + group, 2 * groups + group]
            if not 0 < group <= points:
                order.append(3 * groups + group - min(group, points))
        return torch.tensor(order)


@contextmanager
def watched(module: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """After a forward, the list has the input of each fully connected layer, one vector a row."""
    entered: list[torch.Tensor] = []

    def note(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if given[0].dim() == 2:
            entered.append(given[0])

    hooks = [
        each.register_forward_pre_hook(note)
        for each in module.modules()
        if isinstance(each, torch.nn.Linear)
    ]
    try:
        yield entered
    finally:
        for hook in hooks:
            hook.remove()


def behind(x: torch.Tensor, entered: list[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors that `entered` in one forward, but for the rows x themselves."""
    return [each for each in entered if each is not x]


def _covariance(rows: torch.Tensor) -> torch.Tensor:
    centered = rows - rows.mean(0)
    return centered.T @ centered / len(rows)
