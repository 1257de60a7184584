"""Second reading of a mark: the weights are first aligned to the registry's copy of them.

It is used if the blind reading finds nothing. The weights are aligned to the copy without its mark.
The alignment does not see the chips, so it adds nothing to a mark, and the bound on what an
unrelated key reads stays the same. The reading needs the copy, so it is not blind, and is reported
as such.

Undoes changes to a network that keep its function: permuted, rescaled or removed neurons. Each
matrix is aligned by itself to the registry's copy of it. So no graph is needed, and rows may be
neurons, attention heads or the features within one. A matrix is compared after each row and column
has been scaled to the same size, which undoes all scalings. Rows are matched first by what does not
depend on the order of the columns, then rows and columns in turn by their correlation (compare
arXiv 2112.14108, 2312.14182).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from publishing.watermark import key as payloads
from publishing.watermark.embedding import EmbeddingStrength
from publishing.watermark.key import WatermarkCode
from publishing.watermark.pairing import Floats, PairedWeight, Shape, correlate, numbered, whiten
from publishing.watermark.reading import FileWeights

_SCALINGS = 12
_ROUNDS = 12
# Quantiles of a row's magnitudes, which no order of its columns changes.
QUANTILES = 64
# The shares of rows that are matched by them at first, in turn.
_SURE = (0.25, 0.08, 0.6)
# Matching rows takes the square of their number; vocabularies keep their order.
_MOST_MATCHED = 8192

Order = npt.NDArray[np.int64]
Start = Callable[[], "_Match"]
_GONE = -1


@dataclass(frozen=True, slots=True, eq=False)
class AlignedWeight:
    """A weight in the reference's order and scale, zero where a neuron is gone; how well it
    correlates with the reference, from -1 to 1; and which of its rows is which of the reference's.
    """

    values: Floats
    kinship: float
    rows: Order


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    """The row and column of the other for each of the reference, or _GONE, and the signs."""

    rows: Order
    columns: Order
    row_signs: Floats
    column_signs: Floats


def align(host: Floats, reference: Floats, hints: Sequence[Order] = ()) -> AlignedWeight:
    """Bring `host` [o, i, ...] into the order and scale of `reference` [O, I, ...], o <= O, i <= I.

    1. Rows and columns of both are scaled to unit size.
    2. From each start (rows in place, columns in place, columns in an order of `hints`, rows or
       columns by their quantiles), columns and rows are matched in turn until nothing changes.
    3. The match that correlates best is taken, and scaled as the reference is.
    """
    # 1.
    wanted, out_scale, in_scale = scaled(reference)
    given, _, _ = scaled(host)
    # 2.
    best, kinship = None, -math.inf
    for start in _starts(given, wanted, hints):
        match = _refine(start(), given, wanted)
        agreed = _kinship(_apply(match, given, wanted.shape), wanted)
        if agreed > kinship:
            best, kinship = match, agreed
        if kinship > 0.9:
            break
    # 3.
    if best is None:
        return AlignedWeight(np.zeros_like(reference), 0.0, np.full(len(reference), _GONE))
    moved = _apply(best, given, wanted.shape) / out_scale[:, None, None] / in_scale[None, :, None]
    return AlignedWeight(moved.reshape(reference.shape).astype(np.float32), kinship, best.rows)


def scaled(weights: Floats) -> tuple[Floats, Floats, Floats]:
    """As [rows, columns, rest] with every row and column of unit mean square; and the scales."""
    wide = weights.reshape(weights.shape[0], weights.shape[1], -1).astype(np.float32)
    power = (wide**2).mean(axis=2)
    out, into = np.ones(wide.shape[0], np.float32), np.ones(wide.shape[1], np.float32)
    for _ in range(_SCALINGS):
        out = 1 / np.sqrt(np.maximum(power @ into**2 / len(into), 1e-30))
        into = 1 / np.sqrt(np.maximum(out**2 @ power / len(out), 1e-30))
    # All-zero rows stay zero: they get the scale of the largest other row.
    out[power.sum(axis=1) == 0] = 1
    into[power.sum(axis=0) == 0] = 1
    return wide * out[:, None, None] * into[None, :, None], out, into


def _starts(given: Floats, wanted: Floats, hints: Sequence[Order]) -> list[Start]:
    starts: list[Start] = []
    if given.shape[0] == wanted.shape[0]:
        starts.append(lambda: _rows_fixed(np.arange(wanted.shape[0]), given, wanted))
    if given.shape[1] == wanted.shape[1] and wanted.shape[0] <= _MOST_MATCHED:
        starts.append(lambda: _columns_fixed(np.arange(wanted.shape[1]), given, wanted))
    # Neurons that one matrix gives, the next one takes, mostly in the same order.
    for hint in hints[::-1]:
        if len(hint) == wanted.shape[1] and hint.max() < given.shape[1]:
            starts.append(partial(_columns_fixed, hint, given, wanted))
    if max(wanted.shape[:2]) <= _MOST_MATCHED:
        for share in _SURE:
            starts.append(partial(_rows_guessed, share, given, wanted))
            starts.append(partial(_columns_guessed, share, given, wanted))
    return starts


def _rows_fixed(rows: Order, given: Floats, wanted: Floats) -> _Match:
    gone = np.full(wanted.shape[1], _GONE, np.int64)
    ones = np.ones(wanted.shape[1], np.float32)
    return _Match(rows, gone, np.ones(wanted.shape[0], np.float32), ones)


def _columns_fixed(columns: Order, given: Floats, wanted: Floats) -> _Match:
    ones = np.ones(wanted.shape[1], np.float32)
    rows, signs = _matched(given, wanted, columns, ones)
    return _Match(rows, columns, signs, ones)


def _rows_guessed(share: float, given: Floats, wanted: Floats) -> _Match:
    return _rows_fixed(_by_quantiles(given, wanted, share), given, wanted)


def _columns_guessed(share: float, given: Floats, wanted: Floats) -> _Match:
    turned, sought = given.transpose(1, 0, 2), wanted.transpose(1, 0, 2)
    return _columns_fixed(_by_quantiles(turned, sought, share), given, wanted)


def _refine(match: _Match, given: Floats, wanted: Floats) -> _Match:
    turned, sought = given.transpose(1, 0, 2), wanted.transpose(1, 0, 2)
    for _ in range(_ROUNDS):
        columns, column_signs = _matched(turned, sought, match.rows, match.row_signs)
        rows, row_signs = match.rows, match.row_signs
        if wanted.shape[0] <= _MOST_MATCHED:
            rows, row_signs = _matched(given, wanted, columns, column_signs)
        settled = np.array_equal(rows, match.rows) and np.array_equal(columns, match.columns)
        match = _Match(rows, columns, row_signs, column_signs)
        if settled:
            break
    return match


def _matched(given: Floats, wanted: Floats, columns: Order, signs: Floats) -> tuple[Order, Floats]:
    """The given row for each wanted one, and its sign, where it is known which column is which."""
    here = columns != _GONE
    sought = (wanted[:, here] * signs[here][None, :, None]).reshape(wanted.shape[0], -1)
    found = given[:, columns[here]].reshape(given.shape[0], -1)
    scores = _unit(sought) @ _unit(found).T
    rows = _pick(np.abs(scores))
    picked = np.where(rows == _GONE, 1, scores[np.arange(len(rows)), np.maximum(rows, 0)])
    return rows, np.where(picked < 0, -1, 1).astype(np.float32)


def _by_quantiles(given: Floats, wanted: Floats, share: float) -> Order:
    """Rows by the quantiles of their magnitudes, less what all rows have in common."""
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES

    def prints(weights: Floats) -> Floats:
        found = np.quantile(np.abs(weights), levels, axis=1)
        flat = found.transpose(1, 0, 2).reshape(weights.shape[0], -1)
        centred = flat - flat.mean(axis=0)
        return (centred / (centred.std(axis=0) + 1e-12)).astype(np.float32)

    scores = _unit(prints(wanted)) @ _unit(prints(given)).T
    best = scores.argmax(axis=1)
    mutual = scores.argmax(axis=0)[best] == np.arange(len(best))
    # A few that are sure lead to the rest; many that are not lead astray.
    highest = np.sort(scores, axis=1)[:, -2:]
    clear = np.where(mutual, highest[:, -1] - highest[:, 0], -1)
    kept = clear >= np.quantile(clear, 1 - share)
    return np.where(kept & mutual, best, _GONE)


def _pick(scores: Floats) -> Order:
    """A column for each row of scores [n, m], the highest first, none twice; _GONE for the rest.

    Where the matching is clear every row's best is its own, and one pass over them settles it.
    """
    best = scores.argmax(axis=1)
    order = np.argsort(-scores[np.arange(len(best)), best], kind="stable")
    picked = np.full(len(scores), _GONE, np.int64)
    taken = np.zeros(scores.shape[1], bool)
    later = []
    for row in order:
        if taken[best[row]]:
            later.append(row)
        else:
            picked[row] = best[row]
            taken[best[row]] = True
    for row in later:
        if taken.all():
            break
        free = np.where(taken, -np.inf, scores[row])
        picked[row] = int(free.argmax())
        taken[picked[row]] = True
    return picked


def _apply(match: _Match, given: Floats, shape: tuple[int, ...]) -> Floats:
    moved = np.zeros(shape, np.float32)
    rows, columns = match.rows != _GONE, match.columns != _GONE
    block = given[np.ix_(match.rows[rows], match.columns[columns])]
    block = (
        block * match.row_signs[rows][:, None, None] * match.column_signs[columns][None, :, None]
    )
    moved[np.ix_(rows, columns)] = block
    return moved


def _kinship(moved: Floats, wanted: Floats) -> float:
    """Where there is something: what is gone says nothing of whose the rest is."""
    there = moved != 0
    a, b = moved[there], wanted[there]
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size else 0.0


def _unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


# A matrix that is ours correlates with our copy far above this, one that is not far below.
KIN = 0.25
# From here on the order of its rows is known.
_SURE_KIN = 0.6
# Of the weights that could be one of ours, how many are aligned to it.
_CANDIDATES = 3


def aligned_to(
    weights: FileWeights, code: WatermarkCode, copy: Sequence[Floats]
) -> list[PairedWeight]:
    """Those of the weights that are kin to one of `copy`, the marked weights as the registry has
    them, slot by slot, brought into its order and scale; the code's mark is taken out of it first.
    """
    hosts = [each.values for each in (*weights.ordered, *weights.others) if each.values.any()]
    return align_all(hosts, without_mark(copy, code))


def without_mark(hosts: Sequence[Floats], code: WatermarkCode) -> list[Floats]:
    """The registry's copy with what the code reads in it taken out; channels first, in order."""
    taken = []
    for host, (shape, ordinal) in zip(hosts, numbered(h.shape for h in hosts), strict=True):
        sums = correlate(whiten(host), code, shape, ordinal)
        word = payloads.codeword(code.payload) if code.payload is not None else 1
        share = -sums.products / np.maximum(sums.counts, 1) * word
        taken.append(EmbeddingStrength(code, share).shift(host, shape, ordinal))
    return taken


def align_all(hosts: Sequence[Floats], references: Sequence[Floats]) -> list[PairedWeight]:
    """Each reference's weight among the hosts, aligned; none where no host is kin to it.

    Hosts that are as many as the references are first taken for them one by one, as a graph lists
    them; what is no kin then is looked for among the others whose magnitudes are the most alike.
    """
    shapes = [reference.shape for reference in references]
    places = list(numbered(shapes))
    found: dict[int, AlignedWeight] = {}
    left = list(range(len(hosts)))
    hints: list[Order] = []

    def take(place: int, host: int) -> bool:
        aligned = _best_turn(hosts[host], references[place], hints)
        if aligned is None or aligned.kinship < KIN:
            return False
        found[place] = aligned
        left.remove(host)
        if aligned.kinship >= _SURE_KIN:
            hints.append(aligned.rows)
        return True

    if len(hosts) == len(references):
        for place in range(len(references)):
            take(place, place)
    for place, reference in enumerate(references):
        if place in found:
            continue
        for host in sorted(left, key=lambda h: _distance(hosts[h], reference))[:_CANDIDATES]:
            if take(place, host):
                break
    return [
        PairedWeight(whiten(each.values), *places[place]) for place, each in sorted(found.items())
    ]


def _best_turn(host: Floats, reference: Floats, hints: Sequence[Order]) -> AlignedWeight | None:
    """In the host's own layout if it can be, else transposed."""
    for turned in (host, host.T) if host.ndim == 2 else (host,):
        if _fits(turned.shape, reference.shape):
            aligned = align(turned, reference, hints)
            if aligned.kinship >= KIN:
                return aligned
    return None


def _fits(host: Shape, reference: Shape) -> bool:
    return (
        len(host) == len(reference)
        and host[2:] == reference[2:]
        and all(2 * want >= 2 * have >= want for have, want in zip(host, reference, strict=True))
    )


def _distance(host: Floats, reference: Floats) -> float:
    """Between the quantiles of what they hold, whatever its order and scale; infinite for weights
    of shapes that have nothing to do with one another.
    """
    fits = [t for t in (host, host.T) if _fits(t.shape, reference.shape)]
    if not fits:
        return math.inf
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    a, b = (np.quantile(np.abs(scaled(each)[0]), levels) for each in (fits[0], reference))
    return float(np.linalg.norm(a - b))
