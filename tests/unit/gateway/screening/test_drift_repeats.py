"""Repeated rows count once in the drift check, so one caller can't withdraw a version's bound."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.screening.drift import ALPHA, EPOCH, DriftWatch, Followed
from inference.engine.result import InferenceResult
from inference.screening.detector import Verdict
from tests.support.builders.documents.people import ANSWER_LOG

DRAW = np.random.default_rng(23)
# Of which the first is the score.
WIDTH = 4
REQUESTS = 2000


class Book:
    """The registry's side."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def withdraw(self, *told: Any) -> bool:
        self.told.append(told)
        return True

    def withdrawn(self) -> dict[str, str]:
        return {}


def a_live(scores: np.ndarray) -> Any:
    detector = SimpleNamespace(
        calibration=SimpleNamespace(scores=tuple(np.sort(scores).tolist())),
        scores=lambda features: features[:, 0],
        first=None,
        width=WIDTH,
        scaling=SimpleNamespace(spread=(1.0,) * WIDTH),
    )
    ready = SimpleNamespace(detector=detector)
    return SimpleNamespace(model="digits", version=1, digest="sha256:1", ready=ready)


def a_followed(scores: np.ndarray, number: int) -> Followed:
    """Of rows of one feature."""
    draw = np.random.default_rng(number).random
    return Followed(tuple(np.sort(scores).tolist()), draw, np.ones(1), b"k" * 32)


def rows(count: int, shift: float = 0.0) -> np.ndarray:
    """Features [n, F] of rows that are like the calibration's, but for the score's shift."""
    found = DRAW.normal(size=(count, WIDTH))
    found[:, 0] += shift
    return found.astype(np.float32)


def found_in(live: Any, sent: list[tuple[str, np.ndarray]]) -> dict[str, int] | None:
    """Return the findings after callers sent these rows, each [F], in this order."""
    book = Book()
    watch = DriftWatch(book, ANSWER_LOG, np.random.default_rng(1).random)
    for caller, row in sent:
        score = float(row[0])
        watch.observe(live, InferenceResult({}, row[None], score, Verdict.CLEAN, 9.0), caller)
    watch.report()
    return book.told[0][-1] if book.told else None


@pytest.mark.parametrize("quantile", [0.02, 0.5, 0.9, 0.995])
def test_a_repeated_row_does_not_withdraw_the_bound(quantile: float) -> None:
    live = a_live(DRAW.normal(size=480))
    row = rows(1)[0]
    row[0] = np.quantile(live.ready.detector.calibration.scores, quantile)
    assert found_in(live, [("carla", row)] * REQUESTS) is None


def test_many_callers_of_the_same_few_rows_do_not_withdraw_the_bound() -> None:
    live = a_live(DRAW.normal(size=480))
    few = rows(8, shift=1.5)
    sent = [(f"caller-{at % 50}", few[at % 8]) for at in range(REQUESTS)]
    assert found_in(live, sent) is None


def test_a_repeat_with_slightly_different_features_is_a_repeat() -> None:
    live = a_live(DRAW.normal(size=480))
    row = rows(1, shift=2.0)[0]
    jitter = DRAW.normal(0, 1e-6, (REQUESTS, WIDTH)).astype(np.float32)
    assert found_in(live, [("carla", row + each) for each in jitter]) is None


def test_traffic_that_has_changed_is_found_among_repeats() -> None:
    """With as many repeats as other rows; and who looks into it sees that it was one caller."""
    live = a_live(DRAW.normal(size=480))
    row = rows(1)[0]
    sent = [each for other in rows(300, 1.5) for each in (("carla", other), ("otto", row))]
    found = found_in(live, sent)
    assert found is not None
    assert found["distinct"] < found["requests"] < 300
    assert found["callers"] == 2
    assert found["busiest_caller_percent"] > 90


def test_natural_repeats_of_a_coarse_table_keep_the_bound() -> None:
    """The rarer a row the higher it scores, so those that had not come before score ever higher."""
    lost = 0
    for number in range(40):
        kinds = np.minimum(DRAW.zipf(1.6, 480 + REQUESTS), 10_000)
        calibration, traffic = kinds[:480], kinds[480:]
        followed = a_followed(np.log(calibration), number)
        lost += any(followed.add(math.log(kind), np.array([[kind]]), "c") for kind in traffic)
    assert lost <= 40 * ALPHA + 1


def test_remembered_rows_are_bounded() -> None:
    followed = a_followed(np.array([0.0, 1.0]), 1)
    for number in range(EPOCH + 5):
        followed.add(0.5, np.array([[number]]), f"caller-{number}")
    assert len(followed.seen) == 5
    assert followed.finding()["callers"] <= 1025
