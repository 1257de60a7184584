"""Finds by which rotation the residual stream of a transformer was turned, and turns weights back.

The stream can be turned by any orthogonal matrix, and widened, if every matrix that reads or writes
it is turned too: the network computes the same (compare QuaRot, arXiv 2404.00456). Tall matrices
that read or write the stream show the rotation (orthogonal Procrustes), once it is known which of
their rows is which:
- A table, such as the embedding, has a row for each token, and rows keep their places.
- Neurons may have been reordered too. A rotation changes no angle between two rows, so rows are
  matched by their angles to all others: first the surest by their quantiles, then the matrices of
  cosines are aligned (`alignment`).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, product

import numpy as np

from publishing.watermark.alignment import GONE, QUANTILES, Order, align, surest_matches
from publishing.watermark.correlation import Floats

# Rows for each column that a matrix needs to show a rotation.
_TALL = 2
# How far above chance a matrix must agree once it is turned.
_TURNED = 0.2
# A matrix that agrees as it is was not turned.
_UNTURNED = 0.7
# Angles are compared between all rows.
_MOST_ROWS = 4096
# How many of our matrices are compared by angles, and with how many of the file's each.
_COMPARED = 2
# The shares of rows that are matched at first, the last one tried first.
_SURE = (0.25, 0.1)
# How many times more rows a matrix may have become, and how many fewer.
_MOST_ADDED, _MOST_REMOVED = 8, 2
# How many times wider the stream may have become. Rows of a much wider matrix agree with those of
# any other once each is matched with the row that it can be turned to.
_MOST_WIDENED = 2
# Rows that were matched wrongly by angles are matched anew in the stream that was turned back.
_ROUNDS = 3


def rotation_of(hosts: Sequence[Floats], references: Sequence[Floats]) -> Floats | None:
    """The matrix [d', d] that turns rows of the hosts' residual stream into the references'; None
    where nothing was turned, or no table shows it.
    """
    best, highest = None, _TURNED
    for host, reference in _tables(hosts, references):
        size = float(np.linalg.norm(host) * np.linalg.norm(reference)) or 1.0
        if host.shape == reference.shape and float(np.vdot(host, reference)) / size > _UNTURNED:
            continue
        rotation, agreed = _procrustes(host, reference)
        if agreed > highest:
            best, highest = rotation, agreed
    return best


def rotation_by_angles(hosts: Sequence[Floats], references: Sequence[Floats]) -> Floats | None:
    """The same, from matrices whose rows lost their places; None where nothing was turned, or none
    shows it. Matrices of more than 4,096 rows are not compared.
    """
    for host, reference in _tall_pairs(hosts, references):
        given, wanted = _unit(host[host.any(axis=1)]), _unit(reference)
        rows = _matched(_angles(given), _angles(wanted))
        known = rows != GONE
        if known.sum() < wanted.shape[1]:
            continue
        rotation, agreed = _procrustes(given[rows[known]], wanted[known])
        for _ in range(_ROUNDS):
            rows = (wanted @ (given @ rotation).T).argmax(axis=1)
            rotation, agreed = _procrustes(given[rows], wanted)
        if given.shape[1] == wanted.shape[1]:
            unturned = float(np.vdot(given[rows], wanted)) / len(wanted)
            if unturned > _UNTURNED:
                return None
        if agreed > _TURNED:
            return rotation
    return None


def turned_back(forms: Sequence[Floats], rotation: Floats) -> list[Floats]:
    """Each form with its columns, its rows, or both turned by the rotation, then as it is."""
    width = len(rotation)
    found = []
    for form in forms:
        if form.ndim != 2:
            continue
        reads = [form @ rotation] if form.shape[1] == width else []
        writes = [rotation.T @ each for each in (form, *reads) if form.shape[0] == width]
        found += [np.ascontiguousarray(each) for each in (*reads, *writes)]
    return [*found, *forms]


def _procrustes(host: Floats, reference: Floats) -> tuple[Floats, float]:
    """The rotation [d', d] that brings rows of the one nearest to those of the other, and how far
    above chance they agree then.
    """
    size = float(np.linalg.norm(host) * np.linalg.norm(reference)) or 1.0
    left, spectrum, right = np.linalg.svd(
        host.T.astype(np.float64) @ reference, full_matrices=False
    )
    # Random rows agree by about this once turned.
    chance = (reference.shape[1] / reference.shape[0]) ** 0.5
    return (left @ right).astype(np.float32), float(spectrum.sum()) / size - chance


def _tall(weights: Sequence[Floats]) -> list[Floats]:
    """The matrices that have several rows for each column, transposed where they must be."""
    wide = [w if len(w) >= w.shape[1] else w.T for w in weights if w.ndim == 2]
    return [each for each in wide if len(each) >= _TALL * each.shape[1]]


def _tallest_first(weights: Sequence[Floats]) -> list[Floats]:
    return sorted(_tall(weights), key=lambda w: (-len(w) / w.shape[1], len(w)))


def _tables(
    hosts: Sequence[Floats], references: Sequence[Floats]
) -> Iterator[tuple[Floats, Floats]]:
    """Pairs of tall matrices with as many rows, the tallest first."""
    theirs = _tall(hosts)
    for size, group in groupby(_tallest_first(references), key=len):
        same = [host for host in theirs if len(host) == size]
        for reference, host in zip(group, same, strict=False):
            if host.shape[1] >= reference.shape[1]:
                yield host, reference


def _tall_pairs(
    hosts: Sequence[Floats], references: Sequence[Floats]
) -> Iterator[tuple[Floats, Floats]]:
    """Pairs of tall matrices that could be of one layer, the likeliest first."""
    theirs = [host for host in _tall(hosts) if len(host) <= _MOST_ROWS]
    ours = [each for each in _tallest_first(references) if len(each) <= _MOST_ROWS][:_COMPARED]
    fitting = [[host for host in theirs if _fits(host, each)][:_COMPARED] for each in ours]
    places = product(range(_COMPARED), range(len(ours)))
    for place, own in sorted(places, key=lambda pair: abs(pair[0] - pair[1])):
        if place < len(fitting[own]):
            yield fitting[own][place], ours[own]


def _fits(host: Floats, reference: Floats) -> bool:
    return (
        reference.shape[1] <= host.shape[1] <= _MOST_WIDENED * reference.shape[1]
        and _MOST_ADDED * len(reference) >= len(host)
        and _MOST_REMOVED * len(host) >= len(reference)
    )


def _matched(given: Floats, wanted: Floats) -> Order:
    """The row of the one for each of the other, or GONE, by their cosines [n, n] and [m, m]."""
    scores = _profiles(wanted) @ _profiles(given).T
    return align(given, wanted, [surest_matches(scores, share) for share in _SURE]).rows


def _profiles(cosines: Floats) -> Floats:
    """For each row the quantiles of its cosines with others, less what all rows have in common."""
    places = (np.arange(QUANTILES) + 0.5) / QUANTILES
    found = np.quantile(cosines, places, axis=1).T
    centred = (found - found.mean(axis=0)) / (found.std(axis=0) + 1e-12)
    return _unit(centred.astype(np.float32))


def _angles(unit: Floats) -> Floats:
    """The cosines [n, n] between rows, without those of a row with itself."""
    cosines: Floats = unit @ unit.T
    np.fill_diagonal(cosines, 0)
    return cosines


def _unit(rows: Floats) -> Floats:
    found: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found
