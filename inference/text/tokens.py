"""Rows of tokens: how a text is stored in an array, and which rows run together.

A row is int64 [s]: token ids, then `NO_TOKEN` up to the row's end. So one array holds what the
graphs take as two, `input_ids` and `attention_mask`, and is handled like other rows.

Each row runs at the width of its bucket, whatever else is in the batch: a short text does not pay
for a long one, and its answer does not depend on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.runtime import response_contract
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields

Array = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]

NO_TOKEN = -1
TRUNCATE, REFUSE = OVERLONG = ("truncate", "refuse")
_MOST_TOKENS = 1 << 16
_MOST_TEXT_BYTES = 1 << 24
_MOST_BUCKETS = 32
_LEAST_BUCKET = 16
# Pairs of tokens of all rows in one run: 32 rows of 512 tokens.
MOST_PAIRS = 1 << 23
# The largest size of a text in bytes: the first by itself, the second for each token of a row.
_TEXT_BYTES, _TOKEN_BYTES = 1 << 14, 8
_FIELDS = ("vocabulary", "buckets", "overlong", "text_bytes")


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The section `tokens` of `model.json`.

    Ids are below `vocabulary`. A row is filled up to the least of `buckets` (ascending) that holds
    it; the last is the most tokens that the model takes, and `overlong` says what becomes of a text
    with more. A text has at most `text_bytes` bytes.
    """

    vocabulary: int
    buckets: tuple[int, ...]
    overlong: str
    text_bytes: int

    def __post_init__(self) -> None:
        if not 1 <= self.vocabulary < 2**31 or self.overlong not in OVERLONG:
            raise fields.malformed("a vocabulary has tokens; overlong is truncate or refuse")
        if not 1 <= len(self.buckets) <= _MOST_BUCKETS:
            raise fields.malformed(f"there are 1 to {_MOST_BUCKETS} buckets")
        if list(self.buckets) != sorted(set(self.buckets)):
            raise fields.malformed("buckets ascend")
        # The graphs are free in tokens from two on.
        if not 2 <= self.buckets[0] <= self.buckets[-1] <= _MOST_TOKENS:
            raise fields.malformed(f"a bucket has 2 to {_MOST_TOKENS} tokens")
        if not 1 <= self.text_bytes <= _MOST_TEXT_BYTES:
            raise fields.malformed(f"a text has at most {_MOST_TEXT_BYTES} bytes")

    @property
    def most(self) -> int:
        """The most tokens of a row."""
        return self.buckets[-1]

    def encode(self) -> dict[str, Any]:
        """The section."""
        return {name: getattr(self, name) for name in _FIELDS} | {"buckets": list(self.buckets)}

    @classmethod
    def decode(cls, value: Any) -> "TokenRules":
        """Read what `encode` wrote. Raises SealgateError(DOCUMENT_MALFORMED)."""
        item = fields.record(value, _FIELDS)
        return cls(
            fields.integer(item["vocabulary"]),
            tuple(fields.integer(size) for size in fields.items(item["buckets"])),
            fields.text(item["overlong"]),
            fields.integer(item["text_bytes"]),
        )

    @classmethod
    def doubling(cls, vocabulary: int, most: int) -> "TokenRules":
        """Of a model that takes the first `most` tokens of a text: see `doubled`.

        Raises SealgateError(DOCUMENT_MALFORMED).
        """
        text_bytes = max(_TEXT_BYTES, _TOKEN_BYTES * most)
        return cls(vocabulary, doubled(most), TRUNCATE, text_bytes)

    def widths(self, rows: Ids) -> Ids:
        """The bucket of each row [n, s]."""
        sizes = np.array(self.buckets, np.int64)
        return sizes[np.searchsorted(sizes, lengths(rows))]

    def fitted(self, rows: Ids) -> Ids:
        """Rows [n, s] as wide as the bucket of the longest."""
        return resized(rows, int(self.widths(rows).max()))

    def checked(self, rows: Ids) -> Ids:
        """The same rows, if they are such: TENSOR_SHAPE, TENSOR_RANGE."""
        if rows.ndim != 2 or not rows.size or rows.shape[1] > self.most:
            raise SealgateError(Reason.TENSOR_SHAPE, f"tokens are {rows.shape}")
        if rows.min() < NO_TOKEN or rows.max() >= self.vocabulary:
            raise SealgateError(Reason.TENSOR_RANGE, "a token is not of the vocabulary")
        places = np.arange(rows.shape[1])
        held = places < lengths(rows)[:, np.newaxis]
        if not held[:, 0].all() or not np.array_equal(held, rows != NO_TOKEN):
            raise SealgateError(Reason.TENSOR_RANGE, "a row must be tokens followed by padding")
        return rows

    def run(self, rows: Ids, work: Callable[[Ids], tuple[Array, ...]]) -> tuple[Array, ...]:
        """`work` for the rows of each bucket by themselves, and for no more than are run `at_once`;
        its results [n, …], in order.
        """
        widths = self.widths(rows)
        present = [int(width) for width in np.unique(widths)]
        if len(present) == 1 and len(rows) <= at_once(present[0]):
            return work(resized(rows, present[0]))
        places, parts = [], []
        for width in present:
            own, most = np.flatnonzero(widths == width), at_once(width)
            for place in np.split(own, range(most, len(own), most)):
                places.append(place)
                parts.append(work(resized(rows[place], width)))
        back = np.argsort(np.concatenate(places))
        return tuple(np.concatenate(results)[back] for results in zip(*parts, strict=True))


def doubled(most: int) -> tuple[int, ...]:
    """Buckets of 16 tokens, 32, 64 and so on, and of `most`."""
    sizes = [_LEAST_BUCKET << at for at in range(16) if _LEAST_BUCKET << at < most]
    return (*sizes, most)


def at_once(width: int) -> int:
    """How many rows of so many tokens a graph is given at once: where each token attends to every
    other, what a row takes grows with the square of its length.
    """
    return max(1, MOST_PAIRS // width**2)


def lengths(rows: Ids) -> Ids:
    """How many tokens each row [n, s] has."""
    found: Ids = np.count_nonzero(rows != NO_TOKEN, axis=1)
    return found


def resized(rows: Ids, width: int) -> Ids:
    """Rows [n, s] cut or filled up to `width` places."""
    if rows.shape[1] >= width:
        return rows[:, :width]
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=NO_TOKEN)


def joined(ids: Ids, mask: Ids) -> Ids:
    """Rows of what the graphs take. Raises TENSOR_RANGE for a mask of other numbers than 0 and 1,
    and for an id where there is a token that could be taken for none.
    """
    if mask.min() < 0 or mask.max() > 1 or ids.min() < 0:
        raise SealgateError(Reason.TENSOR_RANGE, "a mask is of 0 and 1, and ids are not negative")
    return np.where(mask == 1, ids, NO_TOKEN)


def feeds(rows: Ids) -> dict[str, Array]:
    """Rows [n, s] as the graphs take them."""
    held = rows != NO_TOKEN
    return {
        response_contract.IDS: np.where(held, rows, 0),
        response_contract.MASK: held.astype(np.int64),
    }
