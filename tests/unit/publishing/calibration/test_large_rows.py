"""Rows that are large are measured a part at a time, and small ones all at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inference.runtime import response_contract
from inference.screening import attack
from publishing.calibration.probe import NUMBERS_AT_ONCE, PartedSession, rows_at_once


class SumGraph:
    """Answers with the sum of each row and its label; `asked` is how many rows came at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        rows = feeds[response_contract.X]
        self.asked.append(len(rows))
        return [rows.reshape(len(rows), -1).sum(axis=1), feeds[response_contract.LABEL]]


def test_parts_together_are_what_all_at_once_would_be() -> None:
    row = NUMBERS_AT_ONCE // 3
    x = np.ones((7, row), np.float32) * np.arange(7, dtype=np.float32)[:, None]
    graph, labels = SumGraph(), np.arange(7)
    sums, told = PartedSession(graph).run(None, attack.feeds(x, 0.1, 0.0, 1.0, labels))
    assert graph.asked == [3, 3, 1]
    assert np.array_equal(sums, x.sum(axis=1))
    assert np.array_equal(told, labels)


def test_small_rows_are_not_parted() -> None:
    graph = SumGraph()
    PartedSession(graph).run(None, attack.feeds(np.ones((900, 64), np.float32), 0.1, 0.0, 1.0))
    assert graph.asked == [900]


def test_a_row_that_is_larger_than_all_comes_alone() -> None:
    assert rows_at_once(np.empty((3, NUMBERS_AT_ONCE + 1), np.int8), 128) == 1
    assert rows_at_once(np.empty((300, 64), np.int8), 128) == 128
    assert rows_at_once(np.empty((30, 224, 224, 3), np.int8), 128) == 27
