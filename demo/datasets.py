"""The demo's small public data sets, cut into disjoint slices.

`train` is for the weights; `fit` for the detector; `calibration` for thresholds and ranges; `test`
for reported figures. Both sets ship with scikit-learn, so nothing is downloaded.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import datasets

from inference.model.columns import Column

PUBLISHED = ("fit", "calibration", "test")
_ORDER_SEED = 20261125
# To how many decimals tumours are on record: of radius, texture, perimeter, area, smoothness,
# compactness, concavity, concave points, symmetry and fractal dimension the mean, then its error,
# then the worst. None is finer than float32 tells apart.
_DECIMALS = (
    *(3, 2, 2, 1, 5, 5, None, 6, 4, 5),
    *(4, 4, 4, None, 6, 6, None, 6, 6, 7),
    *(3, 2, 2, 1, 5, 5, None, None, 4, 5),
)


@dataclass(frozen=True, slots=True)
class DemoSlice:
    """Rows x float32 [n, D] in [0, 1] with their classes y int64 [n]."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DemoDataset:
    """Slices by name, how x came from the raw measurements: (raw - offset) / scale, of a table what
    its columns hold, and the size of images.
    """

    name: str
    title: str
    license: str
    labels: tuple[str, ...]
    slices: dict[str, DemoSlice]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    columns: tuple[Column, ...] = ()
    image: tuple[int, int] | None = None


def digits() -> DemoDataset:
    """1,797 handwritten digits of 8 x 8 pixels with 17 levels."""
    bunch = datasets.load_digits()
    raw = _cut(bunch.data, bunch.target, {"train": 617, "fit": 300, "calibration": 480})
    return DemoDataset(
        name="digits",
        title="Optical Recognition of Handwritten Digits (UCI, test part, from scikit-learn)",
        license="CC-BY-4.0",
        labels=tuple(str(name) for name in bunch.target_names),
        slices=_scaled(raw, np.zeros(1), np.full(1, 16.0)),
        offset=(0.0,),
        scale=(16.0,),
        image=(8, 8),
    )


def breast_cancer() -> DemoDataset:
    """569 tumours with 30 measurements; ranges are those of the training slice."""
    bunch = datasets.load_breast_cancer()
    raw = _cut(bunch.data, bunch.target, {"train": 249, "fit": 100, "calibration": 110})
    measured = raw["train"][0]
    # Rounded, so that the ranges in model.json are the ones applied here, digit for digit.
    low = np.round(measured.min(axis=0), 6)
    span = np.round(measured.max(axis=0) - low, 6)
    return DemoDataset(
        name="breast-cancer",
        title="Breast Cancer Wisconsin (Diagnostic) (UCI, from scikit-learn)",
        license="CC-BY-4.0",
        labels=tuple(str(name) for name in bunch.target_names),
        slices=_scaled(raw, low, span),
        offset=tuple(low.tolist()),
        scale=tuple(span.tolist()),
        columns=tuple(
            Column(str(name), step=0.0 if decimals is None else float(f"1e-{decimals}"))
            for name, decimals in zip(bunch.feature_names, _DECIMALS, strict=True)
        ),
    )


Raw = dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]]


def _cut(x: npt.NDArray[np.float64], y: npt.NDArray[np.int64], sizes: dict[str, int]) -> Raw:
    """Shuffle once and cut; what the sizes leave over is `test`."""
    order = np.random.default_rng(_ORDER_SEED).permutation(len(x))
    places = np.split(order, np.cumsum(list(sizes.values())))
    return {name: (x[at], y[at]) for name, at in zip((*sizes, "test"), places, strict=True)}


def _scaled(
    raw: Raw, offset: npt.NDArray[np.float64], scale: npt.NDArray[np.float64]
) -> dict[str, DemoSlice]:
    return {
        name: DemoSlice(
            np.clip((x - offset) / scale, 0, 1).astype(np.float32), y.astype(np.int64, copy=False)
        )
        for name, (x, y) in raw.items()
    }
