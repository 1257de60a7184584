"""Correlates weights with chips: the sums on which every reading of a mark rests."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from publishing.watermark.coding import chips
from publishing.watermark.key import WatermarkCode

# Heavy tails would drown the mark: one outlier outweighs hundreds of weights.
_CLIP = np.float32(4)

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]


def whiten(values: Floats) -> Floats:
    """Zero mean, unit spread, clipped; a constant matrix tells nothing and becomes zeros."""
    largest = np.abs(values).max(initial=0)
    if largest == 0:
        return np.zeros_like(values)
    # Squares of what was scaled up or down by a thief would leave the range of floats.
    scaled = values / largest
    scaled -= np.float32(scaled.mean(dtype=np.float64))
    flat = scaled.reshape(-1)
    spread = math.sqrt(float(flat @ flat) / flat.size)
    # The rounding residue of a constant is not a spread.
    if spread <= 1e-6:
        return np.zeros_like(values)
    scaled *= np.float32(1 / spread)
    return np.clip(scaled, -_CLIP, _CLIP, out=scaled)


@dataclass(frozen=True, slots=True)
class CorrelationSums:
    """Sums of chips times whitened weights, per payload bit [bits] or as one number [1]."""

    products: Wide
    energies: Wide
    counts: Wide

    @classmethod
    def of(cls, pieces: Iterable["CorrelationSums"], bits: int) -> "CorrelationSums":
        """The sum of sums."""
        total = np.zeros((3, max(bits, 1)))
        for piece in pieces:
            total += (piece.products, piece.energies, piece.counts)
        return cls(*total)

    @property
    def strengths(self) -> Wide:
        """Each bit's own z [bits], signed; 0 where nothing was read."""
        return self.products / np.sqrt(np.maximum(self.energies, 1e-12))

    def z(self, word: npt.NDArray[Any] | None = None) -> float:
        """In standard deviations; for the signs [bits] of a payload where there is one."""
        product = float(np.sum(self.products if word is None else self.products * word))
        energy = float(self.energies.sum())
        return product / math.sqrt(energy) if energy > 0 else 0.0


def correlate(
    white: Floats, code: WatermarkCode, shape: tuple[int, ...], ordinal: int
) -> CorrelationSums:
    """Whitened weights of this shape with the code's bare chips, apart by the payload's bits."""
    signs = chips(code.secret, code.model, shape, ordinal)
    if not code.bits:
        flat = white.reshape(-1)
        product = float(flat @ signs.reshape(-1).astype(np.float32))
        return CorrelationSums(
            np.array([product]), np.array([float(flat @ flat)]), np.array([flat.size])
        )
    rows = white.reshape(shape[0], -1)
    starts = code.starts(shape, ordinal)
    products = _by_bit(rows * signs.reshape(rows.shape), starts, code.bits)
    energies = _by_bit(rows * rows, starts, code.bits)
    return CorrelationSums(products, energies, count_by_bit(starts, rows.shape[1], code.bits))


def count_by_bit(starts: npt.NDArray[np.int64], columns: int, bits: int) -> Wide:
    """How many weights hold each bit [bits]."""
    return _by_bit(np.ones((1, columns), np.float32), np.zeros(1, np.int64), bits)[
        (np.arange(bits)[:, None] - starts[None, :]) % bits
    ].sum(axis=1)


def _by_bit(rows: Floats, starts: npt.NDArray[np.int64], bits: int) -> Wide:
    """The sums of [n, columns] by bit, where row r holds bit (starts[r] + column) mod `bits`."""
    whole = rows.shape[1] // bits * bits
    folded = rows[:, :whole].reshape(len(rows), -1, bits).sum(axis=1)
    rest = rows[:, whole:]
    folded[:, : rest.shape[1]] += rest
    places = (starts[:, None] + np.arange(bits)) % bits
    return np.bincount(places.ravel(), folded.ravel(), bits).astype(np.float64)
