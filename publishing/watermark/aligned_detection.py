"""Detects a mark in weights that are first aligned to the registry's copy of them.

It is used if the blind reading finds nothing. The weights are aligned to the copy without its mark.
The alignment does not see the chips, so it adds nothing to a mark, and the bound on what an
unrelated key reads stays the same. It needs the copy, so it is not blind, and is reported as such.

Undoes changes to a network that keep its function, in any combination:
- Neurons permuted, rescaled, removed or added (`alignment`).
- Neurons without effect: their columns in the next matrix are zeros. Their rows become zeros too,
  from the last matrix to the first, since such neurons may be heard by others of their kind.
- Clones: a neuron may be stored several times, if what is made of it is divided among the copies.
  Copies have parallel rows in the matrix that makes them; in the next matrix, their columns are
  summed, each times the length of its row, as a neuron of a piecewise linear network passes it on.
- The residual stream of a transformer turned by any orthogonal matrix, and widened, with every
  matrix that reads or writes it (`rotation`).
- Matrices stored together, such as those for queries, keys and values (`alignment`).
- Matrices stored as products or sums (`linear_maps` reads them from the graph).
Each matrix is aligned by itself to the registry's copy of it.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from publishing.watermark import key as payloads
from publishing.watermark.alignment import (
    AlignedWeight,
    Order,
    align,
    chance_kinship,
    quantiles,
    scaled,
)
from publishing.watermark.correlation import (
    Floats,
    PairedWeight,
    Shape,
    correlate,
    numbered,
    whiten,
)
from publishing.watermark.detection import FileWeights
from publishing.watermark.graph_marking import EmbeddingStrength
from publishing.watermark.key import WatermarkCode
from publishing.watermark.rotation import rotation_by_angles, rotation_of, turned_back

# A matrix that is ours correlates with our copy far above this, one that is not far below.
KIN = 0.25
# From here on the order of its rows is known.
_SURE_KIN = 0.6
# From here on no other form of a host can be better.
_WHOLE_KIN = 0.9
# How many weights are aligned to one of ours: of those that follow the last one found, and of the
# others that could be it.
_FOLLOWING, _CANDIDATES = 2, 6
# How many times larger than ours a matrix may have become, or smaller.
_MOST_ADDED, _MOST_REMOVED = 8, 2
# Copies rounded to eight bits are still this parallel; no two neurons that were trained are.
_PARALLEL = 0.999
# Rows are compared in pairs.
_MOST_COMPARED = 8192


def aligned_to(
    weights: FileWeights, code: WatermarkCode, copy: Sequence[Floats], tables: Sequence[Floats] = ()
) -> list[PairedWeight]:
    """Those of the weights that are kin to one of `copy`, the marked weights as the registry has
    them, slot by slot, brought into its order and scale; the code's mark is taken out of it first.

    `tables` are the version's weights without a mark, such as a language model's embedding.
    """
    hosts = [each.values for each in (*weights.ordered, *weights.others) if each.values.any()]
    return align_all(hosts, without_mark(copy, code), tables)


def could_hold(weights: FileWeights, slots: Sequence[Shape]) -> bool:
    """Whether weights of these shapes could be half of those that were marked, or more."""
    shapes = {each.values.shape for each in (*weights.ordered, *weights.others)}
    shapes |= {shape[::-1] for shape in shapes if len(shape) == 2}
    held = sum(math.prod(slot) for slot in slots if any(_fits(shape, slot) for shape in shapes))
    return 2 * held >= sum(math.prod(slot) for slot in slots)


def without_mark(hosts: Sequence[Floats], code: WatermarkCode) -> list[Floats]:
    """The registry's copy with what the code reads in it taken out; channels first, in order."""
    taken = []
    for host, (shape, ordinal) in zip(hosts, numbered(h.shape for h in hosts), strict=True):
        sums = correlate(whiten(host), code, shape, ordinal)
        word = payloads.codeword(code.payload) if code.payload is not None else 1
        share = -sums.products / np.maximum(sums.counts, 1) * word
        taken.append(EmbeddingStrength(code, share).shift(host, shape, ordinal))
    return taken


def align_all(
    hosts: Sequence[Floats], references: Sequence[Floats], tables: Sequence[Floats] = ()
) -> list[PairedWeight]:
    """Each reference's weight among the hosts, aligned; none where no host is kin to it.

    A reference is looked for in the host that follows the last one found, as a graph lists them,
    then in those of its own shape, whose magnitudes are the most alike. A host is compared as it
    is, without clones and silent neurons, and turned back where the residual stream was rotated.
    """
    return _Search(hosts, references, tables).found()


class _Search:
    """The hosts that are left, each in all its forms, and what was learned of their order."""

    def __init__(
        self, hosts: Sequence[Floats], references: Sequence[Floats], tables: Sequence[Floats]
    ) -> None:
        plain = plain_forms(hosts)
        rotation = rotation_of(hosts, [*tables, *references])
        if rotation is None:
            rotation = rotation_by_angles([forms[-1] for forms in plain], references)
        self._forms = [
            turned_back(forms, rotation) if rotation is not None else forms for forms in plain
        ]
        self._references = references
        self._left = dict.fromkeys(range(len(hosts)))
        self._hints: list[Order] = []
        self._prints: dict[int, list[Floats]] = {}
        self._wanted: dict[int, Floats] = {}
        self._tried: dict[tuple[int, int, int], AlignedWeight | None] = {}
        self._last = -1

    def found(self) -> list[PairedWeight]:
        """Those that are surely kin first: what is left is nearly always what the others are."""
        aligned: dict[int, AlignedWeight] = {}
        for least in (_WHOLE_KIN, _SURE_KIN, 0.0):
            self._last = -1
            for place in range(len(self._references)):
                if place not in aligned and (one := self._find(place, least)) is not None:
                    aligned[place] = one
        places = list(numbered(reference.shape for reference in self._references))
        return [
            PairedWeight(whiten(aligned[place].values), *places[place]) for place in sorted(aligned)
        ]

    def _find(self, place: int, least: float) -> AlignedWeight | None:
        reference = self._references[place]
        for host in self._candidates(place):
            # An order that was learned since may lead further.
            key = (host, place, len(self._hints))
            if key not in self._tried:
                self._tried[key] = self._best_form(host, place)
            best = self._tried[key]
            if best is None or best.likeness < least:
                continue
            self._last = host
            if len(self._forms[host][0]) < _MOST_REMOVED * len(reference):
                # A weight that is not so much larger holds no other of ours.
                del self._left[host]
            if best.kinship >= _SURE_KIN:
                self._hints.append(best.rows)
            return best
        return None

    def _candidates(self, place: int) -> Iterator[int]:
        shape = self._references[place].shape
        fitting = [
            host for host in self._left if any(True for _ in _turns(self._forms[host], shape))
        ]
        following = [host for host in fitting if host >= self._last][:_FOLLOWING]
        yield from following
        wanted = sorted(shape)
        nearest = sorted(
            fitting,
            key=lambda host: (
                sorted(self._forms[host][0].shape) != wanted,
                self._distance(host, place),
            ),
        )
        yield from (host for host in nearest[:_CANDIDATES] if host not in following)

    def _distance(self, host: int, place: int) -> float:
        """Between the quantiles of what they hold, whatever its order and scale."""
        if host not in self._prints:
            self._prints[host] = [_quantiles(form) for form in self._forms[host]]
        if place not in self._wanted:
            self._wanted[place] = _quantiles(self._references[place])
        wanted = self._wanted[place]
        return min(float(np.linalg.norm(each - wanted)) for each in self._prints[host])

    def _best_form(self, host: int, place: int) -> AlignedWeight | None:
        """The form of the host that is most kin."""
        best = None
        reference = self._references[place]
        for form in _turns(self._forms[host], reference.shape):
            aligned = align(form, reference, self._hints)
            if aligned.kinship < max(KIN, chance_kinship(form, reference)):
                continue
            if best is None or aligned.likeness > best.likeness:
                best = aligned
            if best.likeness >= _WHOLE_KIN:
                break
        return best


def _turns(forms: Sequence[Floats], reference: Shape) -> Iterator[Floats]:
    """The forms of a host that could be the reference, also transposed."""
    for form in forms:
        for turned in (form, form.T) if form.ndim == 2 else (form,):
            if _fits(turned.shape, reference):
                yield turned


def _fits(host: Shape, reference: Shape) -> bool:
    return (
        len(host) == len(reference)
        and host[2:] == reference[2:]
        and all(
            _MOST_ADDED * want >= have and _MOST_REMOVED * have >= want
            for have, want in zip(host, reference, strict=True)
        )
    )


def _quantiles(weights: Floats) -> Floats:
    return quantiles(scaled(weights)[0].reshape(1, -1))


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
