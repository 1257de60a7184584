"""Aligns one matrix to a reference of it: neurons may be reordered, rescaled, gone, or more.

A matrix is compared after each row and column has been scaled to the same size, which undoes all
scalings. Rows are matched first by what does not depend on the order of the columns, then rows and
columns in turn by their correlation (compare arXiv 2112.14108, 2312.14182). So no graph is needed,
and rows may be neurons, attention heads or the features within one. Rows and columns that the
reference lacks are left over.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from publishing.watermark.correlation import Floats

_SCALINGS = 12
_ROUNDS = 12
# By how much a round has to raise the kinship.
_GAIN = 0.003
# Quantiles of a row's magnitudes, which no order of its columns changes.
QUANTILES = 64
# The shares of rows that are matched by them at first, in turn.
_SURE = (0.25, 0.08, 0.6)
# Matching rows takes the square of their number; vocabularies keep their order.
_MOST_MATCHED = 8192

Order = npt.NDArray[np.int64]
Start = Callable[[], "_Match"]
Scores = Callable[[], Floats]
GONE = -1


@dataclass(frozen=True, slots=True, eq=False)
class AlignedWeight:
    """A weight in the reference's order and scale, zero where a neuron is gone; how well it
    correlates with the reference, from -1 to 1; and which of its rows and columns are which of the
    reference's.
    """

    values: Floats
    kinship: float
    rows: Order
    columns: Order

    @property
    def likeness(self) -> float:
        """The kinship times the share of the reference that is there."""
        return self.kinship * float((self.rows != GONE).mean() * (self.columns != GONE).mean())


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    """The row and column of the other for each of the reference, or GONE, and the signs."""

    rows: Order
    columns: Order
    row_signs: Floats
    column_signs: Floats


def align(host: Floats, reference: Floats, hints: Sequence[Order] = ()) -> AlignedWeight:
    """Bring `host` [o, i, ...] into the order and scale of `reference` [O, I, ...].

    1. Rows and columns of both are scaled to unit size.
    2. From each start (rows in place, columns in place, columns in an order of `hints`, rows or
       columns by their quantiles), columns and rows are matched in turn until nothing changes.
    3. The match that correlates best is taken. The matched part is scaled once more, by itself, to
       the reference's scale: added and removed parts no longer count.
    """
    # 1.
    wanted, _, _ = scaled(reference)
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
        gone = (np.full(size, GONE) for size in reference.shape[:2])
        return AlignedWeight(np.zeros_like(reference), 0.0, *gone)
    values, kinship = _rescaled(best, host, reference)
    return AlignedWeight(values, kinship, best.rows, best.columns)


def _rescaled(match: _Match, host: Floats, reference: Floats) -> tuple[Floats, float]:
    rows, columns = match.rows != GONE, match.columns != GONE
    wanted, out, into = scaled(reference[np.ix_(rows, columns)])
    given, _, _ = scaled(host[np.ix_(match.rows[rows], match.columns[columns])])
    given *= match.row_signs[rows][:, None, None] * match.column_signs[columns][None, :, None]
    moved = np.zeros(reference.shape, np.float32)
    back = given / out[:, None, None] / into[None, :, None]
    moved[np.ix_(rows, columns)] = back.reshape(*back.shape[:2], *reference.shape[2:])
    return moved, _kinship(given, wanted)


def scaled(weights: Floats) -> tuple[Floats, Floats, Floats]:
    """As [rows, columns, rest] with every row and column of unit mean square; and the scales."""
    wide = weights.reshape(weights.shape[0], weights.shape[1], -1).astype(np.float32)
    power = (wide**2).mean(axis=2)
    out, into = np.ones(wide.shape[0], np.float32), np.ones(wide.shape[1], np.float32)
    for _ in range(_SCALINGS):
        out = 1 / np.sqrt(np.maximum(power @ into**2 / len(into), 1e-30))
        into = 1 / np.sqrt(np.maximum(out**2 @ power / len(out), 1e-30))
    # All-zero rows and columns stay zero: their scale is 1.
    out[power.sum(axis=1) == 0] = 1
    into[power.sum(axis=0) == 0] = 1
    return wide * out[:, None, None] * into[None, :, None], out, into


def chance_kinship(host: Floats, reference: Floats) -> float:
    """Above what matrices of these shapes have in common by chance, once the best of the host's
    rows has been found for each row, and the best of its columns for each column.
    """
    rows, columns = host.shape[:2]
    rest = math.prod(reference.shape[2:])
    by_rows = math.log(rows + 1) / (reference.shape[1] * rest)
    by_columns = math.log(columns + 1) / (reference.shape[0] * rest)
    return min(1.25 * math.sqrt(2 * max(by_rows, by_columns)), 0.6)


def _starts(given: Floats, wanted: Floats, hints: Sequence[Order]) -> list[Start]:
    starts: list[Start] = []
    # A row or column of zeros has no counterpart in the reference.
    rows = np.flatnonzero(given.any(axis=(1, 2)))
    columns = np.flatnonzero(given.any(axis=(0, 2)))
    if len(rows) == wanted.shape[0]:
        starts.append(lambda: _rows_fixed(rows, given, wanted))
    if len(columns) == wanted.shape[1] and wanted.shape[0] <= _MOST_MATCHED:
        starts.append(lambda: _columns_fixed(columns, given, wanted))
    # Neurons that one matrix gives, the next one takes, mostly in the same order.
    for hint in hints[::-1]:
        if len(hint) == wanted.shape[1] and hint.max() < given.shape[1]:
            starts.append(partial(_columns_fixed, hint, given, wanted))
    if max(wanted.shape[:2]) <= _MOST_MATCHED:
        turned, sought = given.transpose(1, 0, 2), wanted.transpose(1, 0, 2)
        by_rows = cache(partial(_print_scores, given[:, columns], wanted))
        by_columns = cache(partial(_print_scores, turned[:, rows], sought))
        for share in _SURE:
            starts.append(partial(_rows_guessed, share, by_rows, given, wanted))
            starts.append(partial(_columns_guessed, share, by_columns, given, wanted))
    return starts


def _rows_fixed(rows: Order, given: Floats, wanted: Floats) -> _Match:
    gone = np.full(wanted.shape[1], GONE, np.int64)
    ones = np.ones(wanted.shape[1], np.float32)
    return _Match(rows, gone, np.ones(wanted.shape[0], np.float32), ones)


def _columns_fixed(columns: Order, given: Floats, wanted: Floats) -> _Match:
    ones = np.ones(wanted.shape[1], np.float32)
    rows, signs = _matched(given, wanted, columns, ones)
    return _Match(rows, columns, signs, ones)


def _rows_guessed(share: float, scores: Scores, given: Floats, wanted: Floats) -> _Match:
    return _rows_fixed(surest_matches(scores(), share), given, wanted)


def _columns_guessed(share: float, scores: Scores, given: Floats, wanted: Floats) -> _Match:
    return _columns_fixed(surest_matches(scores(), share), given, wanted)


def _refine(match: _Match, given: Floats, wanted: Floats) -> _Match:
    """Until nothing changes, or gets better by it: what is no kin goes on changing."""
    turned, sought = given.transpose(1, 0, 2), wanted.transpose(1, 0, 2)
    best, highest = match, -math.inf
    for _ in range(_ROUNDS):
        columns, column_signs = _matched(turned, sought, match.rows, match.row_signs)
        rows, row_signs = match.rows, match.row_signs
        if wanted.shape[0] <= _MOST_MATCHED:
            rows, row_signs = _matched(given, wanted, columns, column_signs)
        settled = np.array_equal(rows, match.rows) and np.array_equal(columns, match.columns)
        match = _Match(rows, columns, row_signs, column_signs)
        agreed = _kinship(_apply(match, given, wanted.shape), wanted)
        if agreed < highest + _GAIN:
            return match if agreed > highest else best
        best, highest = match, agreed
        if settled:
            break
    return best


def _matched(given: Floats, wanted: Floats, columns: Order, signs: Floats) -> tuple[Order, Floats]:
    """The given row for each wanted one, and its sign, where it is known which column is which."""
    here = columns != GONE
    sought = (wanted[:, here] * signs[here][None, :, None]).reshape(wanted.shape[0], -1)
    found = given[:, columns[here]].reshape(given.shape[0], -1)
    scores = _unit(sought) @ _unit(found).T
    rows = _pick(np.abs(scores))
    picked = np.where(rows == GONE, 1, scores[np.arange(len(rows)), np.maximum(rows, 0)])
    return rows, np.where(picked < 0, -1, 1).astype(np.float32)


def quantiles(values: Floats) -> Floats:
    """Of magnitudes along the second axis, which is sorted once for all of them."""
    ordered = np.sort(np.abs(values), axis=1)
    places = (np.arange(QUANTILES) + 0.5) / QUANTILES * (ordered.shape[1] - 1)
    below = places.astype(np.int64)
    above = np.minimum(below + 1, ordered.shape[1] - 1)
    part = (places - below).astype(np.float32).reshape(1, -1, *[1] * (values.ndim - 2))
    found: Floats = ordered[:, below] * (1 - part) + ordered[:, above] * part
    return found


def _print_scores(given: Floats, wanted: Floats) -> Floats:
    """How alike rows are by their quantiles, less what all rows have in common."""

    def prints(weights: Floats) -> Floats:
        flat = quantiles(weights).reshape(weights.shape[0], -1)
        centred = flat - flat.mean(axis=0)
        return (centred / (centred.std(axis=0) + 1e-12)).astype(np.float32)

    return _unit(prints(wanted)) @ _unit(prints(given)).T


def surest_matches(scores: Floats, share: float) -> Order:
    """For each row of scores [n, m] its column, of the share that is surest; GONE for the rest."""
    best = scores.argmax(axis=1)
    mutual = scores.argmax(axis=0)[best] == np.arange(len(best))
    # A few that are sure lead to the rest; many that are not lead astray.
    highest = np.sort(scores, axis=1)[:, -2:]
    clear = np.where(mutual, highest[:, -1] - highest[:, 0], -1)
    kept = clear >= np.quantile(clear, 1 - share)
    return np.where(kept & mutual, best, GONE)


def _pick(scores: Floats) -> Order:
    """A column for each row of scores [n, m], the highest first, none twice; GONE for the rest.

    Where the matching is clear every row's best is its own, and one pass over them settles it.
    """
    best = scores.argmax(axis=1)
    order = np.argsort(-scores[np.arange(len(best)), best], kind="stable")
    picked = np.full(len(scores), GONE, np.int64)
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
    rows, columns = match.rows != GONE, match.columns != GONE
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
