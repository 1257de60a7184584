"""Harmless changes of images, as another camera, scanner or hand makes them.

Where an image is turned or moved, each pixel takes its value between the four that lay around where
it came from (bilinear), and what comes from beyond the image is background.

The changes of `camera_changes` are small and each of one kind. Beside them an image is *retaken*:
moved, turned, scaled and slanted, with other contrast, brightness and noise, all drawn at random
and much further. A detector that is shown no such rows takes what is merely far from the training
rows for an attack, and refuses the images of another source.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.floating]
Array = npt.NDArray[Any]

# By their names: degrees, and pixels down and to the right.
_MOVES: dict[str, tuple[float, float, float]] = {
    "up": (0, -0.5, 0),
    "down": (0, 0.5, 0),
    "left": (0, 0, -0.5),
    "right": (0, 0, 0.5),
    "turned": (6, 0, 0),
    "turned-back": (-6, 0, 0),
}
CONTRASTS = {"flatter": 0.8, "sharper": 1.2}
RETAKEN: tuple[str, ...] = tuple(f"retaken-{number}" for number in range(1, 9))
CHANGES: tuple[str, ...] = (*_MOVES, *CONTRASTS, *RETAKEN)

# How far a retaken image goes at most. Moves are of a pixel, or of that share of the shorter side.
_FAR, _DEGREES, _SLANT, _SCALE = 1 / 16, 12.0, 0.2, (0.85, 1.15)
# Brightness and noise are shares of the domain's width.
_CONTRAST, _BRIGHTNESS, _NOISE = (0.65, 1.4), 0.1, 0.05


def camera_changes(
    rows: Images, image: tuple[int, int], low: float, high: float
) -> Iterator[tuple[str, Images]]:
    """Yield the name of each change and rows [n, ...] under it; each row is one or more images of
    that height and width with values from `low` to `high`.
    """
    images = rows.reshape(-1, *image)
    for name, (degrees, down, right) in _MOVES.items():
        yield name, (low + moved_images(images - low, degrees, down, right)).reshape(rows.shape)
    for name, contrast in CONTRASTS.items():
        yield name, _contrasted(rows, contrast, low, high)


def retaken_images(
    rows: Images,
    image: tuple[int, int],
    low: float,
    high: float,
    generator: np.random.Generator,
) -> Iterator[tuple[str, Images]]:
    """Yield `RETAKEN` names and rows [n, ...] taken anew, each in a way of its own; the images of
    one row, such as its channels, move together.
    """
    images = rows.reshape(len(rows), -1, *image)
    reach = max(1.0, _FAR * min(image))
    for name in RETAKEN:
        moved = np.empty_like(images)
        for at, each in enumerate(images):
            down, right = generator.uniform(-reach, reach, 2)
            moved[at] = low + _sampled(each - low, _drawn_way(generator), down, right)
        lit = (len(rows), 1, 1, 1)
        found = _contrasted(moved, generator.uniform(*_CONTRAST, lit), low, high)
        found = found + (high - low) * generator.uniform(-_BRIGHTNESS, _BRIGHTNESS, lit)
        noise = generator.uniform(0, _NOISE, lit) * generator.standard_normal(images.shape)
        found = np.clip(found + (high - low) * noise, low, high)
        yield name, found.reshape(rows.shape).astype(rows.dtype)


def moved_images(images: Images, degrees: float, down: float, right: float) -> Images:
    """Images [n, H, W] turned around their middle, then moved; what is beyond them is 0."""
    return _sampled(images, _turn(degrees), down, right)


def _turn(degrees: float) -> Array:
    turn = np.deg2rad(degrees)
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def _drawn_way(generator: np.random.Generator) -> Array:
    """Where each place of a retaken image comes from, around the middle: [2, 2]."""
    slant = np.array([[1, 0], [generator.uniform(-_SLANT, _SLANT), 1]])
    turn = _turn(generator.uniform(-_DEGREES, _DEGREES))
    return np.asarray(turn @ slant @ np.diag(1 / generator.uniform(*_SCALE, 2)))


def _contrasted(rows: Images, contrast: float | Array, low: float, high: float) -> Images:
    middle = (low + high) / 2
    return np.asarray(np.clip(middle + contrast * (rows - middle), low, high))


def _sampled(images: Images, way: Array, down: float, right: float) -> Images:
    """Images [n, H, W] whose place p comes from way @ p, both counted from the middle, then
    moved.
    """
    height, width = images.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - (height - 1) / 2 - down, x - (width - 1) / 2 - right
    from_y = way[0, 0] * y + way[0, 1] * x + (height - 1) / 2
    from_x = way[1, 0] * y + way[1, 1] * x + (width - 1) / 2
    # A border of background, so that each place has four around it.
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    from_y, from_x = np.clip(from_y + 1, 0, height + 1), np.clip(from_x + 1, 0, width + 1)
    top = np.minimum(np.floor(from_y), height).astype(int)
    left = np.minimum(np.floor(from_x), width).astype(int)
    lower, further = from_y - top, from_x - left
    above = framed[:, top, left] * (1 - further) + framed[:, top, left + 1] * further
    below = framed[:, top + 1, left] * (1 - further) + framed[:, top + 1, left + 1] * further
    return np.asarray(above * (1 - lower) + below * lower, images.dtype)
