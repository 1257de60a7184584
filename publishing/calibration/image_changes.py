"""Changes of images that a camera, a scanner or a hand makes, shown to a detector as harmless.

Each pixel takes its value between the four that lay around where it came from (bilinear), and what
comes from beyond the image is background.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.floating]

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
CHANGES: tuple[str, ...] = (*_MOVES, *CONTRASTS)


def changed(
    rows: Images, image: tuple[int, int], low: float, high: float
) -> Iterator[tuple[str, Images]]:
    """Yield the name of each change and rows [n, ...] under it; each row is one or more images of
    that height and width with values from `low` to `high`.
    """
    images = rows.reshape(-1, *image)
    for name, (degrees, down, right) in _MOVES.items():
        yield name, (low + moved(images - low, degrees, down, right)).reshape(rows.shape)
    middle = (low + high) / 2
    for name, contrast in CONTRASTS.items():
        yield name, np.clip(middle + contrast * (rows - middle), low, high)


def moved(images: Images, degrees: float, down: float, right: float) -> Images:
    """Images [n, H, W] turned around their middle, then moved; what is beyond them is 0."""
    height, width = images.shape[1:]
    turn = np.deg2rad(degrees)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - (height - 1) / 2 - down, x - (width - 1) / 2 - right
    from_y = np.cos(turn) * y - np.sin(turn) * x + (height - 1) / 2
    from_x = np.sin(turn) * y + np.cos(turn) * x + (width - 1) / 2
    # A border of background, so that each place has four around it.
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    from_y, from_x = np.clip(from_y + 1, 0, height + 1), np.clip(from_x + 1, 0, width + 1)
    top = np.minimum(np.floor(from_y), height).astype(int)
    left = np.minimum(np.floor(from_x), width).astype(int)
    lower, further = from_y - top, from_x - left
    above = framed[:, top, left] * (1 - further) + framed[:, top, left + 1] * further
    below = framed[:, top + 1, left] * (1 - further) + framed[:, top + 1, left + 1] * further
    return np.asarray(above * (1 - lower) + below * lower, images.dtype)
