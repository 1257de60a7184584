"""Correlates weights with a mark's chips, and pairs a file's weights with the marked ones.

A slot is a weight that was marked: its shape, output channels first, and its place among those of
that shape. A weight of a file can match a slot in every order of its axes that gives its shape.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from publishing.watermark.key import WatermarkCode, chips

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


Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PairedWeight:
    """A weight as the slot has it: `values` of the slot's shape, and its place among those."""

    values: Floats
    shape: Shape
    ordinal: int


def numbered(shapes: Iterable[Shape]) -> Iterator[tuple[Shape, int]]:
    """Each shape with its place, from 0, among its equals."""
    counts: Counter[Shape] = Counter()
    for shape in shapes:
        yield shape, counts[shape]
        counts[shape] += 1


def as_they_come(hosts: Sequence[Floats], slots: Sequence[Shape]) -> list[PairedWeight]:
    """The first weight of a shape in the first slot of that shape, and so on; in a slot whose shape
    no weight has, the next one that has it transposed.
    """
    by_shape: dict[Shape, list[Floats]] = defaultdict(list)
    for host in hosts:
        by_shape[host.shape].append(host)
    paired, open_slots = [], []
    for shape, ordinal in numbered(slots):
        if by_shape[shape]:
            paired.append(PairedWeight(by_shape[shape].pop(0), shape, ordinal))
        else:
            open_slots.append((shape, ordinal))
    for shape, ordinal in open_slots:
        if len(shape) == 2 and by_shape[shape[::-1]]:
            turned = np.ascontiguousarray(by_shape[shape[::-1]].pop(0).T)
            paired.append(PairedWeight(turned, shape, ordinal))
    return paired


def log_ways(hosts: Iterable[Shape], slots: Iterable[Shape]) -> float:
    """The logarithm of how many pairings `search` chooses among; 0 where there is only one."""
    found, wanted = _classes(hosts), _classes(slots)
    total = 0.0
    for kind, shapes in wanted.items():
        if not found[kind]:
            continue
        most, least = (f(len(shapes), len(found[kind])) for f in (max, min))
        turns = max(len(_turns(host, slot)) for host in found[kind] for slot in set(shapes))
        total += math.lgamma(most + 1) - math.lgamma(most - least + 1) + least * math.log(turns)
    return total


def search(
    hosts: Sequence[Floats], slots: Sequence[Shape], code: WatermarkCode
) -> list[PairedWeight]:
    """The pairing with the largest sum of products with the code's signs, as far as swaps lead."""
    by_kind: dict[Shape, list[Floats]] = defaultdict(list)
    for host in hosts:
        by_kind[_kind(host.shape)].append(host)
    places: dict[Shape, list[tuple[Shape, int]]] = defaultdict(list)
    for shape, ordinal in numbered(slots):
        places[_kind(shape)].append((shape, ordinal))
    return [
        each
        for kind, wanted in places.items()
        if by_kind[kind]
        for each in _search_kind(by_kind[kind], wanted, code)
    ]


def _search_kind(
    hosts: Sequence[Floats], slots: Sequence[tuple[Shape, int]], code: WatermarkCode
) -> Iterator[PairedWeight]:
    size = max(len(hosts), len(slots))
    scores = np.zeros((size, size))
    turned: dict[tuple[int, int], tuple[int, ...]] = {}
    for column, (shape, ordinal) in enumerate(slots):
        signs = code.signs(shape, ordinal).astype(np.float32)
        for row, host in enumerate(hosts):
            best = -math.inf
            for turn in _turns(host.shape, shape):
                # The signs are turned, not the weights: what is summed is the same.
                score = float(np.vdot(host, signs.transpose(np.argsort(turn))))
                if score > best:
                    best, turned[row, column] = score, turn
            scores[row, column] = best if turned.get((row, column)) is not None else 0.0
    for row, column in enumerate(best_pairing(scores)):
        if row < len(hosts) and column < len(slots):
            shape, ordinal = slots[column]
            values = np.ascontiguousarray(hosts[row].transpose(turned[row, column]))
            yield PairedWeight(values, shape, ordinal)


def best_pairing(scores: Wide) -> list[int]:
    """A column for each row of [k, k], so that the scores' sum is as large as swaps make it."""
    size = len(scores)
    column = np.empty(size, np.int64)
    left = scores.copy()
    for _ in range(size):
        row, best = np.unravel_index(int(left.argmax()), left.shape)
        column[row] = best
        left[row, :] = left[:, best] = -np.inf
    improved = True
    while improved:
        improved = False
        for first, second in itertools.combinations(range(size), 2):
            a, b = column[first], column[second]
            if scores[first, b] + scores[second, a] > scores[first, a] + scores[second, b]:
                column[first], column[second] = b, a
                improved = True
    return [int(place) for place in column]


def _kind(shape: Shape) -> Shape:
    return tuple(sorted(shape))


def _classes(shapes: Iterable[Shape]) -> dict[Shape, list[Shape]]:
    found: dict[Shape, list[Shape]] = defaultdict(list)
    for shape in shapes:
        found[_kind(shape)].append(shape)
    return found


def _turns(host: Shape, slot: Shape) -> list[tuple[int, ...]]:
    """The orders of the host's axes that give the slot's shape; the one it has first."""
    orders = itertools.permutations(range(len(host)))
    return [order for order in orders if tuple(host[axis] for axis in order) == slot]
