"""Rows of tokens: their form, their buckets, and that each is run at the width of its own."""

import numpy as np
import pytest

from inference.text.tokens import (
    NO_TOKEN,
    Ids,
    TokenRules,
    at_once,
    doubled,
    feeds,
    joined,
    lengths,
)
from sealgate.reasons import Reason, SealgateError

RULES = TokenRules(vocabulary=10, buckets=(4, 8), overlong="truncate", text_bytes=100)


def row(count: int, width: int = 8) -> Ids:
    return np.where(np.arange(width) < count, 5, NO_TOKEN)


def test_rules_are_written_and_read_alike() -> None:
    assert TokenRules.decode(RULES.encode()) == RULES
    assert RULES.most == 8


@pytest.mark.parametrize(
    "changed",
    [
        {"vocabulary": 0},
        {"vocabulary": True},
        {"buckets": []},
        {"buckets": [8, 4]},
        {"buckets": [4, 4]},
        {"buckets": [1, 4]},
        {"buckets": [4, 1 << 20]},
        {"buckets": "4"},
        {"overlong": "cut"},
        {"text_bytes": 0},
        {"text_bytes": 1 << 30},
        {"more": 1},
    ],
)
def test_other_rules_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(SealgateError) as refused:
        TokenRules.decode(RULES.encode() | changed)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_row_has_the_least_bucket_that_holds_it() -> None:
    rows = np.stack([row(count) for count in (1, 4, 5, 8)])
    assert lengths(rows).tolist() == [1, 4, 5, 8]
    assert RULES.widths(rows).tolist() == [4, 4, 8, 8]
    assert RULES.fitted(rows[:2]).shape == (2, 4)
    assert RULES.fitted(row(5, width=5)[np.newaxis]).shape == (1, 8)


def test_each_row_is_run_at_its_own_width_and_comes_back_in_its_place() -> None:
    rows = np.stack([row(count) for count in (8, 2, 5, 3)])
    rows[:, 0] = np.arange(4)
    seen = []

    def work(part: Ids) -> tuple[np.ndarray, np.ndarray]:
        seen.append(part.shape)
        return part[:, :1], lengths(part)

    firsts, counts = RULES.run(rows, work)
    assert seen == [(2, 4), (2, 8)]
    assert firsts.ravel().tolist() == [0, 1, 2, 3]
    assert counts.tolist() == [8, 2, 5, 3]


def test_what_graphs_take_and_rows_are_the_same() -> None:
    rows = np.stack([row(3), row(8)])
    given = feeds(rows)
    assert given["attention_mask"].tolist() == [[1] * 3 + [0] * 5, [1] * 8]
    assert given["input_ids"].min() == 0
    assert np.array_equal(joined(given["input_ids"], given["attention_mask"]), rows)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (row(3, width=9)[np.newaxis], Reason.TENSOR_SHAPE),
        (np.empty((0, 8), np.int64), Reason.TENSOR_SHAPE),
        (np.full((1, 8), 10), Reason.TENSOR_RANGE),
        (np.full((1, 8), -2), Reason.TENSOR_RANGE),
        (np.full((1, 8), NO_TOKEN), Reason.TENSOR_RANGE),
        (row(3)[::-1][np.newaxis], Reason.TENSOR_RANGE),
        (np.array([[5, NO_TOKEN, 5, 5]]), Reason.TENSOR_RANGE),
    ],
)
def test_what_are_no_rows_is_refused(rows: Ids, reason: Reason) -> None:
    with pytest.raises(SealgateError) as refused:
        RULES.checked(rows)
    assert refused.value.reason is reason


@pytest.mark.parametrize(("ids", "mask"), [([1, 2], [1, 2]), ([1, 2], [1, -1]), ([-1, 2], [1, 1])])
def test_masks_and_ids_of_other_numbers_are_refused(ids: list[int], mask: list[int]) -> None:
    with pytest.raises(SealgateError) as refused:
        joined(np.array([ids]), np.array([mask]))
    assert refused.value.reason is Reason.TENSOR_RANGE


def test_long_rows_are_run_a_few_at_a_time() -> None:
    rules = TokenRules.doubling(10, 4096)
    counts = [4096, 3, 4000, 5, 2000, 9, 1500, 2048, 1100]
    rows = np.stack([row(count, 4096) for count in counts])
    ran: list[tuple[int, ...]] = []

    def work(part: Ids) -> tuple[Ids]:
        ran.append(part.shape)
        return (lengths(part),)

    assert list(rules.run(rows, work)[0]) == counts
    assert ran == [(3, 16), (2, 2048), (2, 2048), (1, 4096), (1, 4096)]
    assert (at_once(64), at_once(512), at_once(4096)) == (2048, 32, 1)


def test_buckets_double_up_to_the_most() -> None:
    assert doubled(64) == (16, 32, 64)
    assert doubled(100) == (16, 32, 64, 100)
    assert doubled(9) == (9,)
    assert TokenRules.doubling(10, 64).text_bytes == 1 << 14
    assert TokenRules.doubling(10, 4096).text_bytes == 1 << 15
