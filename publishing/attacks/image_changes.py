"""Harmless changes of images, as another camera, scanner or hand makes them.

Where an image is turned or moved, each pixel takes its value between the four that lay around where
it came from (bilinear), and what comes from beyond the image is background.

The changes of `camera_changes` are small and each of one kind. Beside them an image is *retaken*:
moved, turned, scaled and slanted, with other contrast, brightness and noise, all drawn at random
and much further. A detector that is shown no such rows takes what is merely far from the training
rows for an attack, and refuses the images of another source.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

# Images are retaken at once whose pixels are no more than these: places take 100 bytes each.
_PIXELS = 1 << 18
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
    reach, at_once = max(1.0, _FAR * min(image)), max(1, _PIXELS // math.prod(images.shape[1:]))
    for name in RETAKEN:
        moved, ways = np.empty_like(images), _drawn_ways(len(images), reach, generator)
        for start in range(0, len(images), at_once):
            part = slice(start, start + at_once)
            moved[part] = low + _sampled(images[part] - low, *(each[part] for each in ways))
        lit = (len(rows), 1, 1, 1)
        found = _contrasted(moved, generator.uniform(*_CONTRAST, lit), low, high)
        found = found + (high - low) * generator.uniform(-_BRIGHTNESS, _BRIGHTNESS, lit)
        noise = generator.uniform(0, _NOISE, lit) * generator.standard_normal(images.shape)
        found = np.clip(found + (high - low) * noise, low, high)
        yield name, found.reshape(rows.shape).astype(rows.dtype)


def moved_images(images: Images, degrees: float, down: float, right: float) -> Images:
    """Images [n, H, W] turned around their middle, then moved; what is beyond them is 0."""
    move = _turns(np.array([degrees])), np.array([down]), np.array([right])
    return np.asarray(_sampled(images[:, None], *move)[:, 0])


def _turns(degrees: Array) -> Array:
    """Of n degrees: [n, 2, 2]."""
    turn = np.deg2rad(degrees)
    rows = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return np.moveaxis(np.array(rows), -1, 0)


def _drawn_ways(
    count: int, reach: float, generator: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Where each place of a retaken image comes from, around the middle: [count, 2, 2]. How far the
    image moves down, and to the right: [count].
    """
    (least, most), drawn = _SCALE, generator.random((count, 6))
    down, right, slanted, turned = (drawn[:, :4] * 2 - 1).T
    slant = np.tile(np.eye(2), (count, 1, 1))
    slant[:, 1, 0] = _SLANT * slanted
    scale = least + (most - least) * drawn[:, 4:]
    return _turns(_DEGREES * turned) @ slant / scale[:, None], reach * down, reach * right


def _contrasted(rows: Images, contrast: float | Array, low: float, high: float) -> Images:
    middle = (low + high) / 2
    return np.asarray(np.clip(middle + contrast * (rows - middle), low, high))


def _sampled(images: Images, ways: Array, down: Array, right: Array) -> Images:
    """Images [n, C, H, W] whose place p comes from way @ p, both counted from the middle, then
    moved: each in a way of its own, or all in one ([n or 1, 2, 2], [n or 1]).
    """
    height, width = images.shape[2:]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y = y - (height - 1) / 2 - down[:, None, None]
    x = x - (width - 1) / 2 - right[:, None, None]
    a, b, c, d = (each[:, None, None] for each in ways.reshape(-1, 4).T)
    from_y, from_x = a * y + b * x + (height - 1) / 2, c * y + d * x + (width - 1) / 2
    # A border of background, so that each place has four around it.
    framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1))).transpose(0, 2, 3, 1)
    from_y, from_x = np.clip(from_y + 1, 0, height + 1), np.clip(from_x + 1, 0, width + 1)
    top = np.minimum(np.floor(from_y), height).astype(int)
    left = np.minimum(np.floor(from_x), width).astype(int)
    lower, further = (from_y - top)[..., None], (from_x - left)[..., None]
    each = np.arange(len(images))[:, None, None]
    above = framed[each, top, left] * (1 - further) + framed[each, top, left + 1] * further
    top = top + 1
    below = framed[each, top, left] * (1 - further) + framed[each, top, left + 1] * further
    found = above * (1 - lower) + below * lower
    return np.asarray(found.transpose(0, 3, 1, 2), images.dtype)
