"""The section `columns` of `model.json`, and the rules that it sets for a table's rows.

The section has one object for each place of a row, in order:

    {"name": "duration", "step": 1, "min": 4, "max": 72}     a number
    {"name": "age", "immutable": true}                       a number that a caller cannot change
    {"name": "purpose", "word": "car"}                       1 if the column has this word, else 0

`step`, `min` and `max` are in the units of the measurement, before `scaling`; without scaling, in
the units of the rows as sent. `step` is the distance between possible values: values, `min` and
`max` are multiples of it. If it is absent or 0, any value is possible. A range must be within the
domain. The place of a word is 0 or 1, and at most one place of a column is 1. `immutable` marks a
value that a caller cannot choose, such as an age on record; a request does not show this.

Simulated attacks make only rows that a caller could send: others do not count, and a detector that
is fitted on them learns what it will never see. So a number that a caller may change moves within
its range and in its steps. Every other place keeps its exact bits. Words are not exchanged, because
attacks follow a gradient: it describes small changes, and a word has none.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields


def number(value: Any) -> float:
    """Return `value` as a float if it is a finite number."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise fields.malformed("a finite number is expected")
    return float(value)


def numbers(value: Any) -> tuple[float, ...]:
    """Return a list of finite numbers as a tuple."""
    return tuple(number(item) for item in fields.items(value))


_OPTIONAL = ("word", "immutable", "step", "min", "max")
_LONGEST = 128


@dataclass(frozen=True, slots=True)
class Column:
    """One place of a row: the number of the column `name`, or one of its words, one-hot.

    A `step` of 0 and bounds of None mean "not stated".
    """

    name: str
    word: str | None = None
    immutable: bool = False
    step: float = 0.0
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        for text in (self.name, self.word or ""):
            if len(text) > _LONGEST or not text.isprintable():
                raise fields.malformed("a column's name or word is long or unprintable")
        if not self.name:
            raise fields.malformed("a column has a name")
        stated = self.step or self.min is not None or self.max is not None
        if self.word is not None and stated:
            raise fields.malformed("a word has neither step nor range")
        if self.step < 0:
            raise fields.malformed("a column's step is negative")
        if self.min is not None and self.max is not None and not self.min < self.max:
            raise fields.malformed("a column's range must have a size")

    @property
    def is_number(self) -> bool:
        return self.word is None

    def encode(self) -> dict[str, Any]:
        """The column's JSON object, without unstated fields."""
        value: dict[str, Any] = {"name": self.name}
        if self.word is not None:
            value["word"] = self.word
        if self.immutable:
            value["immutable"] = True
        if self.step:
            value["step"] = self.step
        bounds = {"min": self.min, "max": self.max}
        return value | {name: bound for name, bound in bounds.items() if bound is not None}

    @classmethod
    def decode(cls, value: Any) -> "Column":
        """Read such an object. Raises SealgateError(DOCUMENT_MALFORMED)."""
        stated = [name for name in _OPTIONAL if isinstance(value, dict) and name in value]
        item = fields.record(value, ("name", *stated))
        if type(item.get("immutable", False)) is not bool:
            raise fields.malformed("a column is immutable or not")
        return cls(
            fields.text(item["name"]),
            fields.text(item["word"]) if "word" in item else None,
            item.get("immutable", False),
            number(item.get("step", 0)),
            *(number(item[name]) if name in item else None for name in ("min", "max")),
        )

    def said(self) -> str:
        """The values that a number may have, for people."""
        parts = [] if self.min is None else [f"from {self.min:.10g}"]
        parts += [] if self.max is None else [f"to {self.max:.10g}"]
        parts += [f"in steps of {self.step:.10g}"] if self.step else []
        return " ".join(parts) or "any number"


def decode_columns(value: Any) -> tuple[Column, ...]:
    """Read the section. Raises SealgateError(DOCUMENT_MALFORMED), also as `check_names` does."""
    columns = tuple(Column.decode(item) for item in fields.items(value))
    check_names(columns)
    return columns


def check_names(columns: Sequence[Column]) -> None:
    """Check that each name is one number or several distinct words, all immutable or none; and that
    a caller can change at least one number, because otherwise no attack could be simulated.
    """
    numbers = fields.unique([column.name for column in columns if column.is_number])
    words = [column for column in columns if not column.is_number]
    if set(numbers) & {column.name for column in words}:
        raise fields.malformed("a column holds a number or words")
    if len({(column.name, column.word) for column in words}) < len(words):
        raise fields.malformed("a word of a column has two places")
    if len({(c.name, c.immutable) for c in words}) != len({c.name for c in words}):
        raise fields.malformed("some words of a column are immutable")
    if all(column.immutable for column in columns if column.is_number):
        raise fields.malformed("a caller cannot change any number")


def describe_columns(columns: Sequence[Column]) -> dict[str, str]:
    """A description of each column for people, by its name, in the order of the rows."""
    words: dict[str, list[str]] = {}
    for column in columns:
        if column.word is not None:
            words.setdefault(column.name, []).append(column.word)
    described = {}
    for column in columns:
        values = column.said() if column.is_number else f"one of {', '.join(words[column.name])}"
        described[column.name] = f"{values}; immutable" if column.immutable else values
    return described


Rows = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

# A caller that scales in float32 rounds the offset, the difference and the quotient, each by half a
# unit in the last place. About twice that sum is tolerated.
_PLACES = 4 * float(np.finfo(np.float32).eps)
# Values closer together than this many times the tolerated rounding cannot be distinguished.
_LEAST_STEP = 8
_WORD = Column("word", step=1.0, min=0.0, max=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class RowRules:
    """The rules for the D places of a row, in the units of the rows as sent.

    `numbers` [D] marks numbers, and `free` [D] those that a caller may change. Values are between
    `low` and `high` [D]. If `whole` [D] is not 0, it is the distance between possible values,
    counted from `zero` [D]; both bounds are possible values too, since measurements are clipped to
    them. `words` has the places of each column of words.
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
        """The rules of columns whose values are in the units before scaling: (raw - offset) / scale
        is in the domain.

        Raises DOCUMENT_MALFORMED for a range that exceeds the domain, for bounds that are no
        multiples of the column's step, and for steps too small for float32.
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
        rules = cls(
            numbers,
            numbers & ~np.array([column.immutable for column in columns]),
            whole,
            np.where(np.isnan(least), domain[0], least),
            np.where(np.isnan(most), domain[1], most),
            zero,
            _places(columns),
        )
        rules._check(domain, ends)
        return replace(
            rules, low=np.maximum(rules.low, domain[0]), high=np.minimum(rules.high, domain[1])
        )

    @property
    def span(self) -> Floats:
        """The size of each place's range [D]."""
        return self.high - self.low

    def in_units(self) -> "RowRules":
        """The same rules for rows in which each place's range was mapped to 0..1."""
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
        """The same, but no nearer to `before` than `after` is: an attack keeps its effect."""
        return self._sent(self.free, before, after, lambda steps, near: np.ceil(steps - near))

    def changed(self, before: Rows, after: Rows) -> Rows:
        """The possible rows nearest to `after` [n, D], by a benign change of `before`: any number
        may change, no word does.
        """
        return self._sent(self.numbers, before, after, lambda steps, _: np.rint(steps))

    def _sent(
        self,
        moving: Mask,
        before: Rows,
        after: Rows,
        rounded: Callable[[Floats, Floats], Floats],
    ) -> Rows:
        """The possible rows near `after`, where only the places `moving` [D] change.

        `rounded` maps numbers of steps, counted in the direction of the change, to whole numbers;
        its second argument is the share of a step that may be rounding.
        """
        start = before.astype(np.float64)
        there = start + np.where(moving, after.astype(np.float64) - start, 0)
        way = np.sign(there - start)
        stepped = self.whole > 0
        whole = np.where(stepped, self.whole, 1)
        steps = rounded(way * (there - self.zero) / whole, self.rounding / whole)
        there = np.where(stepped, self.zero + way * steps * whole, there)
        # From a bound that is no multiple of the step, the next value may lie the other way.
        there = np.where(way * (there - start) > 0, there, start)
        there = np.clip(there, self.low, self.high)
        still = np.abs(there - start) <= np.where(stepped, self.rounding, 0)
        return np.where(still, before, there.astype(np.float32))

    def _check(self, domain: tuple[float, float], ends: Floats) -> None:
        """Check the rules as `of` says; `ends` [2, D] are the stated bounds, else NaN."""
        least = _LEAST_STEP * self.rounding
        # Each condition is false for NaN, which is therefore refused.
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
        # The places of all words, column by column, and where each column begins.
        self._words = np.concatenate([np.empty(0, np.intp), *columns.words])
        lengths = [0, *(len(places) for places in columns.words)]
        self._columns = np.cumsum(lengths)[:-1]
        self._none, self._half = columns.zero[self._words], columns.whole[self._words] / 2

    def check(self, rows: Rows) -> None:
        # The condition is false for NaN, which is therefore refused.
        if not ((rows >= self._least) & (rows <= self._most)).all():
            raise SealgateError(Reason.TENSOR_RANGE, "outside a column's range")
        if len(self._stepped):
            values = rows[:, self._stepped].astype(np.float64)
            steps = (values - self._zero) / self._whole
            off = np.abs(steps - np.rint(steps)) * self._whole
            ends = np.minimum(values - self._low, self._high - values)
            if (np.minimum(off, ends) > self._rounding).any():
                raise SealgateError(Reason.TENSOR_RANGE, "between two values of a column")
        if len(self._words):
            is_set = np.abs(rows[:, self._words] - self._none) > self._half
            if (np.add.reduceat(is_set, self._columns, axis=1, dtype=np.intp) > 1).any():
                raise SealgateError(Reason.TENSOR_RANGE, "a column has two words in one row")


def _places(columns: Sequence[Column]) -> tuple[Places, ...]:
    """The places of each column of words."""
    names = dict.fromkeys(column.name for column in columns if not column.is_number)
    return tuple(
        np.array([at for at, column in enumerate(columns) if column.name == name]) for name in names
    )
