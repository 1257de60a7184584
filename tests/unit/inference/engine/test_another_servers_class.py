"""A first stage passes no row of which another server answers another class than the graph here."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from inference.engine.batch_run import TwoStage
from inference.screening.first_stage import RunOutputs

ROWS = np.zeros((3, 4), np.float32)
HERE = np.array([[2, 0], [2, 0], [2, 0]], np.float32)
# Of the second row the server says the other class.
THERE = np.array([[2, 0], [0, 2], [2, 0]], np.float32)


class Answering:
    """Gives the same arrays for as many rows as it is asked."""

    def __init__(self, *outputs: np.ndarray) -> None:
        self._outputs = outputs
        self.asked: list[int] = []

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.asked.append(len(feeds["x"]))
        return [each[: len(feeds["x"])] for each in self._outputs]


def two_stage() -> TwoStage:
    """Of a stage that passes every row that it measures; the graph gives two features."""
    readings = SimpleNamespace(
        inputs=SimpleNamespace(size=4),
        vectors=SimpleNamespace(size=3),
        features=lambda shown, weight: np.full((len(ROWS), 1), -1, np.float32),
    )
    stage: Any = SimpleNamespace(
        readings=readings,
        scoring=SimpleNamespace(width=1),
        escalates=lambda first: ~(first[:, 0] <= 0),
    )
    shown = RunOutputs(ROWS, np.zeros((3, 3), np.float32), HERE)
    tapped: Any = SimpleNamespace(weight=np.zeros((2, 3)), run=lambda feeds: shown)
    return TwoStage(stage, tapped, width=4, answers_float32=True)


def test_such_a_row_goes_to_float32_whose_class_leaves() -> None:
    form: Any = SimpleNamespace(serving=lambda x: {"x": x}, screening=lambda x: {"x": x})
    response = Answering(np.ones((3, 2), np.float32), HERE)
    found = two_stage().run(ROWS, Answering(THERE), response, form)
    assert found.logits.argmax(axis=1).tolist() == [0, 0, 0]
    assert response.asked == [1, 1]
    assert found.features[:, -1].tolist()[1] == 1
    assert np.isnan(found.features[[0, 2], -1]).all()
