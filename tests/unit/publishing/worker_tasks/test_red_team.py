"""A query attack succeeds where the answer is another one, by what the model decides."""

from typing import Any

import numpy as np
import pytest

from inference.model.columns import Column, RowRules
from inference.model.config import CLASSES, InputDomain
from inference.model.decisions import Decision, Labels, Numbers
from inference.screening.detector import Verdict
from publishing.worker_tasks.red_team import AttackTarget

# Far apart beside the tolerance.
PRICES = Numbers((0.1,), (1.0,), ((0.0,), (2.0,)))
TAGS = Labels(0.5, ((0.0, 0.0), (1.0, 1.0)))


class Echo:
    """Answers with the row itself."""

    def measure(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x, x


class Lenient:
    def scores(self, features: np.ndarray) -> np.ndarray:
        return features[:, 0]

    def verdict(self, score: float) -> Verdict:
        return Verdict.CLEAN


@pytest.mark.parametrize(
    ("decision", "own", "asked", "turned"),
    [
        (CLASSES, [1, 2], [0, 2], False),
        (CLASSES, [1, 2], [3, 2], True),
        # The nearest level is the same, and the prediction another; and the other way around.
        (PRICES, [0.2], [0.5], True),
        (PRICES, [0.98], [1.02], False),
        (TAGS, [0.9, 0.9], [0.9, 0.4], True),
        (TAGS, [0.9, 0.6], [0.6, 0.9], False),
    ],
)
def test_an_answer_is_turned_by_what_the_model_decides(
    decision: Decision, own: list[float], asked: list[float], turned: bool
) -> None:
    parts: Any = Echo(), InputDomain(0.0, 1.0), Lenient()
    target = AttackTarget(*parts, decision=decision)
    rows = (np.array([each], np.float32) for each in (asked, own))
    assert target.answer(*rows) == (turned, "clean")


def test_an_attack_on_a_table_moves_each_column_by_shares_of_its_own_range() -> None:
    columns = [Column("age", min=0.0, max=100.0), Column("income", min=0.0, max=1e5)]
    rules = RowRules.of([*columns, Column("sex", immutable=True, min=0.0, max=1.0)], (0.0, 1e5))
    parts: Any = Echo(), InputDomain(0.0, 1e5), Lenient(), rules
    target, row = AttackTarget(*parts, relative=True), np.array([[50, 1e4, 1]], np.float32)
    np.testing.assert_allclose(target.changeable(row), [0.5, 0.1])
    asked = target.sent(row, np.array([0.6, 0.3], np.float32))
    np.testing.assert_allclose(asked, [[60, 3e4, 1]], rtol=1e-6)
    assert target.far(row, asked) == pytest.approx(0.2)
