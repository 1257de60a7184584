"""Rules for rows of a table: which values a caller can send, and which an attack can reach.

An attack that nobody could send does not count, and a detector that is fitted on such attacks
learns what it will never see. So a number that a caller may change moves within its range and in
its steps. Every other place stays as it is, bit for bit, and words are not exchanged: a gradient
describes small changes, and a word has none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from inference.model.columns import Column
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields

Rows = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

# Whoever scales in float32 rounds what is subtracted, the difference and the quotient, each by half
# a unit in the last place; about twice as much is borne with.
_PLACES = 4 * float(np.finfo(np.float32).eps)
# Values that lie closer together than this many times as much cannot be told from one another.
_LEAST_STEP = 8
_WORD = Column("word", step=1.0, min=0.0, max=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class RowRules:
    """The rules for the D places of a row, in the units of the rows as sent.

    `numbers` [D] marks numbers, `free` [D] those that a caller may change. Values lie between `low`
    and `high` [D]. If `whole` [D] is not 0, they lie that far apart, counted from `zero` [D]; both
    bounds are possible values too, since measurements are clipped to them. `words` has the places
    of each column that holds words.
    """

    numbers: Mask
    free: Mask
    whole: Floats
    low: Floats
    high: Floats
    zero: Floats
    words: tuple[Places, ...] = ()
    rounding: Floats = field(init=False, repr=False)
    _gate: "_Gate" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        farthest = np.maximum(np.abs(self.low), np.abs(self.high)) + np.abs(self.zero)
        object.__setattr__(self, "rounding", _PLACES * farthest)
        object.__setattr__(self, "_gate", _Gate(self))

    @classmethod
    def of(
        cls,
        columns: Sequence[Column],
        domain: tuple[float, float],
        offset: Sequence[float] = (0.0,),
        scale: Sequence[float] = (1.0,),
    ) -> "RowRules":
        """The rules of columns in the units before scaling: (raw - offset) / scale lies in the
        domain.

        Raises DOCUMENT_MALFORMED for a range beyond the domain or not of the column's values, and
        for steps too small for float32.
        """
        stated = [column if column.is_number else _WORD for column in columns]
        raw = np.array([(column.min, column.max) for column in stated], np.float64).T
        step = np.array([column.step for column in stated])
        offsets, scales = np.asarray(offset, np.float64), np.asarray(scale, np.float64)
        with np.errstate(all="ignore"):
            ends = (raw - offsets) / scales
            zero = np.broadcast_to(-offsets / scales, step.shape)
            whole = np.abs(step / scales)
        least, most = np.where(scales < 0, ends[::-1], ends)
        numbers = np.array([column.is_number for column in columns])
        found = cls(
            numbers,
            numbers & ~np.array([column.immutable for column in columns]),
            whole,
            np.where(np.isnan(least), domain[0], least),
            np.where(np.isnan(most), domain[1], most),
            zero,
            _places(columns),
        )
        found._check(domain, ends)
        return replace(
            found, low=np.maximum(found.low, domain[0]), high=np.minimum(found.high, domain[1])
        )

    @property
    def span(self) -> Floats:
        """The size of each place's range [D]."""
        return self.high - self.low

    def in_units(self) -> "RowRules":
        """The same rules for rows of which each place was mapped to 0..1 by its range."""
        span, zeros = self.span, np.zeros_like(self.low)
        ones, zero = np.ones_like(self.low), (self.zero - self.low) / span
        return replace(self, whole=self.whole / span, low=zeros, high=ones, zero=zero)

    def check(self, rows: Rows) -> None:
        """Check that rows [n, D] are possible, up to rounding. Raises: TENSOR_RANGE."""
        self._gate.check(rows)

    def reach(self, x: Rows, far: float) -> tuple[Rows, Rows]:
        """The smallest and the largest value [n, D] that a caller can send for x [n, D] in each
        column, no further away than `far`.
        """
        moves = np.where(self.free, far, 0)
        least, most = np.maximum(x - moves, self.low), np.minimum(x + moves, self.high)
        return least.astype(np.float32), most.astype(np.float32)

    def within(self, before: Rows, after: Rows) -> Rows:
        """The possible rows nearest to `after` [n, D] that a caller can send instead of `before`
        and that are no further from it in any column.
        """
        return self._sent(self.free, before, after, lambda steps, near: np.floor(steps + near))

    def beyond(self, before: Rows, after: Rows) -> Rows:
        """The same, but no nearer to `before`: an attack keeps its effect."""
        return self._sent(self.free, before, after, lambda steps, near: np.ceil(steps - near))

    def changed(self, before: Rows, after: Rows) -> Rows:
        """What rows [n, D] may become by benign changes: any number changes, no word does."""
        return self._sent(self.numbers, before, after, lambda steps, _: np.rint(steps))

    def _sent(
        self,
        moving: Mask,
        before: Rows,
        after: Rows,
        rounded: Callable[[Floats, Floats], Floats],
    ) -> Rows:
        """`rounded` is given numbers of steps, counted the way that a row goes, and how little of a
        step is rounding.
        """
        start = before.astype(np.float64)
        there = start + np.where(moving, after.astype(np.float64) - start, 0)
        way = np.sign(there - start)
        stepped = self.whole > 0
        whole = np.where(stepped, self.whole, 1)
        steps = rounded(way * (there - self.zero) / whole, self.rounding / whole)
        there = np.where(stepped, self.zero + way * steps * whole, there)
        # From a bound that is no multiple, the next one may lie behind.
        there = np.where(way * (there - start) > 0, there, start)
        there = np.clip(there, self.low, self.high)
        still = np.abs(there - start) <= np.where(stepped, self.rounding, 0)
        return np.where(still, before, there.astype(np.float32))

    def _check(self, domain: tuple[float, float], ends: Floats) -> None:
        """`ends` [2, D] are the bounds that are stated, else NaN."""
        least = _LEAST_STEP * self.rounding
        # Each is written so that what is no number refuses.
        if not (least <= self.high - self.low).all():
            raise fields.malformed("a column's range is too small for float32")
        if not ((self.whole == 0) | (self.whole >= least)).all():
            raise fields.malformed("a column's values are too close together for float32")
        inside = (self.low >= domain[0] - self.rounding) & (self.high <= domain[1] + self.rounding)
        if not inside.all():
            raise fields.malformed("a column's range lies outside the domain")
        whole = np.where(self.whole > 0, self.whole, np.inf)
        steps = (ends - self.zero) / whole
        if (np.abs(steps - np.rint(steps)) * self.whole > self.rounding).any():
            raise fields.malformed("a column's range begins or ends between two values")


class _Gate:
    """The rules in the form used for every request, computed once."""

    def __init__(self, columns: RowRules) -> None:
        rounding = columns.rounding
        self._least, self._most = columns.low - rounding, columns.high + rounding
        at = self._stepped = np.flatnonzero(columns.whole)
        self._zero, self._whole = columns.zero[at], columns.whole[at]
        self._low, self._high, self._rounding = columns.low[at], columns.high[at], rounding[at]
        # The places of words one column behind the other, and where each column begins.
        self._words = np.concatenate([np.empty(0, np.intp), *columns.words])
        lengths = [0, *(len(places) for places in columns.words)]
        self._columns = np.cumsum(lengths)[:-1]
        self._none, self._half = columns.zero[self._words], columns.whole[self._words] / 2

    def check(self, rows: Rows) -> None:
        # Written so that NaN, too, refuses.
        if not ((rows >= self._least) & (rows <= self._most)).all():
            raise SealgateError(Reason.TENSOR_RANGE, "outside a column's range")
        if len(self._stepped):
            found = rows[:, self._stepped].astype(np.float64)
            steps = (found - self._zero) / self._whole
            off = np.abs(steps - np.rint(steps)) * self._whole
            ends = np.minimum(found - self._low, self._high - found)
            if (np.minimum(off, ends) > self._rounding).any():
                raise SealgateError(Reason.TENSOR_RANGE, "between two values of a column")
        if len(self._words):
            held = np.abs(rows[:, self._words] - self._none) > self._half
            if (np.add.reduceat(held, self._columns, axis=1, dtype=np.intp) > 1).any():
                raise SealgateError(Reason.TENSOR_RANGE, "a column has two words in one row")


def _places(columns: Sequence[Column]) -> tuple[Places, ...]:
    """Of each column that holds words."""
    names = dict.fromkeys(column.name for column in columns if not column.is_number)
    return tuple(
        np.array([at for at, column in enumerate(columns) if column.name == name]) for name in names
    )
