"""The section `columns` of `model.json`: one object for each place of a table's row, in order.

    {"name": "duration", "step": 1, "min": 4, "max": 72}     a number
    {"name": "age", "immutable": true}                       a number that a caller cannot change
    {"name": "purpose", "word": "car"}                       1 if the column has this word, else 0

`step`, `min` and `max` are in the units of the measurement, before `scaling`; without scaling, in
the units of the rows as sent. `step` is the distance between possible values: values, `min` and
`max` are multiples of it. If it is absent or 0, any value is possible. A range lies within the
domain. A word's place holds 0 or 1, and at most one place of a column is 1. `immutable` marks what
a caller cannot choose, such as an age on record; a request does not show this.

`inference.model.row_rules` derives the rules for rows from it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    """What one place of a row holds: a number of the column `name`, or its `word`, one-hot.

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
        """The object of the section, without what is not stated."""
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
        """For people: what a number may be."""
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
    a caller can change at least one number, since nothing could attack the table otherwise.
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
    told = {}
    for column in columns:
        holds = column.said() if column.is_number else f"one of {', '.join(words[column.name])}"
        told[column.name] = f"{holds}; immutable" if column.immutable else holds
    return told
