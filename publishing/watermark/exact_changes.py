"""Undoes what changes several matrices at once and keeps a network's function.

Neurons without effect: their columns in the next matrix are zeros. Their rows become zeros too,
from the last matrix to the first, since such neurons may be heard by others of their kind.

Clones: a neuron may be stored several times, if what is made of it is divided among the copies.
Copies have parallel rows in the matrix that makes them; in the next matrix, their columns are
summed, each times the length of its row, as a neuron of a piecewise linear network passes it on.

Rotation: the residual stream of a transformer may be turned by any orthogonal matrix, and widened,
if every matrix that reads or writes it is turned too (compare QuaRot, arXiv 2404.00456). One table
whose rows keep their places, such as the embedding, shows the rotation (orthogonal Procrustes).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from publishing.watermark.pairing import Floats

# Copies rounded to eight bits are still this parallel; no two neurons that were trained are.
_PARALLEL = 0.999
# Rows are compared in pairs.
_MOST_COMPARED = 8192
# Rows for each column that a table needs to show a rotation.
_TALL = 2
# How far above chance a table must agree once it is turned.
_TURNED = 0.2
# A table that agrees as it is was not turned.
_UNTURNED = 0.7


def plain_forms(hosts: Sequence[Floats]) -> list[list[Floats]]:
    """Each host's forms: as it is, without neurons that have no effect, and with the copies of
    neurons merged, where there are any.
    """
    heard = _heard(hosts)
    forms = [
        [host] if host is quiet else [host, quiet] for host, quiet in zip(hosts, heard, strict=True)
    ]
    groups = [_copies(host) for host in heard]
    for place, host in enumerate(heard):
        rows = groups[place]
        merged = host if rows is None else host[_leaders(rows)]
        makers = [(heard[before], groups[before]) for before in range(place)]
        for maker, copies in makers[::-1]:
            if copies is not None and host.shape[1] % len(maker) == 0:
                merged = _summed(merged, maker, copies)
                break
        if merged is not host:
            forms[place].append(merged)
    return forms


def _heard(hosts: Sequence[Floats]) -> list[Floats]:
    """The hosts, with zeros for the neurons that the next matrix of so many columns ignores."""
    found = list(hosts)
    for place in reversed(range(len(found))):
        host = found[place]
        for reader in found[place + 1 :]:
            if reader.shape[1] % len(host) == 0:
                heard = reader.reshape(len(reader), len(host), -1).any(axis=(0, 2))
                if host[~heard].any():
                    found[place] = host.copy()
                    found[place][~heard] = 0
                break
    return found


def _copies(host: Floats) -> Floats | None:
    """For each row the first that is parallel to it; None where no two are."""
    rows = host.reshape(len(host), -1)
    if not 2 <= len(rows) <= _MOST_COMPARED or rows.shape[1] < 2:
        return None
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    first: Floats = (unit @ unit.T >= _PARALLEL).argmax(axis=1)
    lone = ~rows.any(axis=1)
    first[lone] = np.arange(len(rows))[lone]
    return first if (first != np.arange(len(rows))).any() else None


def _leaders(copies: Floats) -> Floats:
    return np.unique(copies)


def _summed(host: Floats, maker: Floats, copies: Floats) -> Floats:
    """The columns [o, n, ...] of copies added up, or n blocks of columns."""
    lengths = np.linalg.norm(maker.reshape(len(maker), -1), axis=1)
    scales = lengths / np.maximum(lengths[copies], 1e-30)
    leaders, places = np.unique(copies, return_inverse=True)
    columns = host.reshape(len(host), len(maker), -1)
    found = np.zeros((len(host), len(leaders), columns.shape[2]), np.float32)
    scaled = (columns * scales[None, :, None]).astype(np.float32)
    np.add.at(found.transpose(1, 0, 2), places, scaled.transpose(1, 0, 2))
    if host.ndim == 2:
        return found.reshape(len(host), -1)
    return found.reshape(len(host), len(leaders), *host.shape[2:])


def rotation_of(hosts: Sequence[Floats], references: Sequence[Floats]) -> Floats | None:
    """The matrix [d', d] that turns rows of the hosts' residual stream into the references'; None
    where nothing was turned, or no table shows it.
    """
    best, highest = None, _TURNED
    for host, reference in _tables(hosts, references):
        product = host.T.astype(np.float64) @ reference
        size = float(np.linalg.norm(host) * np.linalg.norm(reference)) or 1.0
        if host.shape == reference.shape and float(np.trace(product)) / size > _UNTURNED:
            continue
        left, spectrum, right = np.linalg.svd(product, full_matrices=False)
        # Random tables agree by about this once turned.
        chance = (reference.shape[1] / reference.shape[0]) ** 0.5
        agreed = float(spectrum.sum()) / size - chance
        if agreed > highest:
            best, highest = (left @ right).astype(np.float32), agreed
    return best


def _tables(
    hosts: Sequence[Floats], references: Sequence[Floats]
) -> Iterator[tuple[Floats, Floats]]:
    """Pairs of tall matrices with as many rows, or columns, the tallest first."""

    def tall(weights: Sequence[Floats]) -> list[Floats]:
        wide = [w if len(w) >= w.shape[1] else w.T for w in weights if w.ndim == 2]
        return [each for each in wide if len(each) >= _TALL * each.shape[1]]

    ours = sorted(tall(references), key=lambda r: (-len(r) / r.shape[1], len(r)))
    theirs = tall(hosts)
    for size, group in groupby(ours, key=len):
        same = [host for host in theirs if len(host) == size]
        for reference, host in zip(group, same, strict=False):
            if host.shape[1] >= reference.shape[1]:
                yield host, reference


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
