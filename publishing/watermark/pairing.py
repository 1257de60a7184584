"""Pairs the weights of a file with the marked weights: by their order, or by a search.

A slot is a weight that was marked: its shape, output channels first, and its place among those of
that shape. A weight of a file can match a slot in every order of its axes that gives its shape.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from publishing.watermark.correlation import Floats, Wide
from publishing.watermark.key import WatermarkCode

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
