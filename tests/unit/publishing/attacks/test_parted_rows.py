"""Rows are measured a part at a time, with parts that do not depend on the machine."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from inference.runtime import response_contract
from inference.screening import gradient_attacks
from publishing.attacks.parted_rows import (
    NUMBERS_AT_ONCE,
    ROWS_AT_ONCE,
    PartedSession,
    in_parts,
    rows_at_once,
)


class SumGraph:
    """Answers with the sum of each row and its label; `asked` is how many rows came at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        rows = feeds[response_contract.X]
        self.asked.append(len(rows))
        return [rows.reshape(len(rows), -1).sum(axis=1), feeds[response_contract.LABEL]]


@pytest.mark.parametrize(
    ("row", "sizes"),
    [
        (NUMBERS_AT_ONCE // 3, [1, 3, 3]),
        (NUMBERS_AT_ONCE + 1, [1] * 7),
        (64, [7]),
    ],
)
def test_parts_together_are_what_all_at_once_would_be(row: int, sizes: list[int]) -> None:
    x = np.ones((7, row), np.float32) * np.arange(7, dtype=np.float32)[:, None]
    graph, labels = SumGraph(), np.arange(7)
    sums, told = PartedSession(graph).run(None, gradient_attacks.feeds(x, 0.1, 0.0, 1.0, labels))
    # Threads do not take turns.
    assert sorted(graph.asked) == sizes
    assert np.array_equal(sums, x.sum(axis=1))
    assert np.array_equal(told, labels)


def test_small_rows_come_in_parts_of_the_same_size_whatever_their_number() -> None:
    assert rows_at_once(np.empty((30, 64), np.int8)) == ROWS_AT_ONCE
    assert rows_at_once(np.empty((3000, 64), np.int8)) == ROWS_AT_ONCE
    assert rows_at_once(np.empty((30, 224, 224, 3), np.int8)) == 6


def test_no_rows_are_one_part() -> None:
    assert in_parts(np.empty((0, 4), np.float32), lambda part: (part.start, part.stop)) == [(0, 1)]


def test_an_error_of_a_part_is_that_of_all() -> None:
    def work(part: slice) -> int:
        if part.start:
            raise KeyError(threading.current_thread().name)
        return 0

    with pytest.raises(KeyError, match="rows"):
        in_parts(np.empty((200, 4), np.float32), work)
