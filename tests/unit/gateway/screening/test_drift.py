"""Drift: exchangeable traffic keeps its bound, other traffic loses it, once and in the log."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.screening.drift import ALPHA, EPOCH, DriftWatch, Traffic
from inference.engine.result import InferenceResult
from inference.screening.detector import Verdict
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import ANSWER_LOG, refused

DRAW = np.random.default_rng(11)


def traffic(number: int = 0) -> Traffic:
    return Traffic(
        tuple(np.sort(DRAW.normal(size=480)).tolist()), np.random.default_rng(number).random
    )


def found_after(given: Traffic, scores: np.ndarray) -> int | None:
    return next((n for n, score in enumerate(scores) if given.add(float(score))), None)


def test_exchangeable_traffic_keeps_its_bound() -> None:
    """Of 300 versions, each with 1,000 requests, 0.3 lose it on average."""
    lost = sum(
        found_after(traffic(number), DRAW.normal(size=1000)) is not None for number in range(300)
    )
    assert lost <= 300 * ALPHA + 2


@pytest.mark.parametrize(
    ("mean", "spread", "within"), [(1.0, 1.0, 150), (-1.0, 1.0, 300), (0.0, 2.5, 400)]
)
def test_scores_that_grow_shrink_or_spread_lose_it(mean: float, spread: float, within: int) -> None:
    given = traffic()
    assert found_after(given, DRAW.normal(size=500)) is None
    found = found_after(given, DRAW.normal(mean, spread, 2000))
    assert found is not None
    assert found < within


def test_scores_that_are_no_numbers_and_ties_are_taken() -> None:
    given = Traffic((0.0,) * 100, np.random.default_rng(1).random)
    assert found_after(given, np.zeros(2000)) is None
    assert found_after(given, np.full(200, np.nan)) is not None


def test_what_is_kept_is_bounded() -> None:
    given = traffic()
    for score in DRAW.normal(size=EPOCH + 10):
        given.add(float(score))
    assert len(given.scores) == 480 + 10
    assert given.requests == EPOCH + 10


class Book:
    """The registry's side, which may be away."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.away = False

    def withdraw(self, *told: Any) -> bool:
        if self.away:
            raise SealgateError(Reason.REGISTRY_UNAVAILABLE)
        self.told.append(told)
        return True

    def withdrawn(self) -> dict[str, str]:
        return {f"sha256:{told[2]}": "2026-11-25T10:00:00Z" for told in self.told}


def a_live(name: str) -> Any:
    calibration = SimpleNamespace(scores=tuple(np.sort(DRAW.normal(size=480)).tolist()))
    detector = SimpleNamespace(
        calibration=calibration,
        scores=lambda features: features[:, 0],
        first=None,
        width=3,
        scaling=SimpleNamespace(spread=(1.0, 1.0, 1.0)),
    )
    ready = SimpleNamespace(detector=detector)
    return SimpleNamespace(model=name, version=1, digest=f"sha256:{name}", ready=ready)


def an_answer(score: float, rows: int = 1) -> InferenceResult:
    """The first row's score is the one that counts, whatever the highest is; no two are alike."""
    features = np.column_stack([np.full(rows, score), DRAW.normal(size=(rows, 2))])
    return InferenceResult({}, features, score if rows == 1 else 99.0, Verdict.CLEAN, 1.0)


def test_a_bound_is_withdrawn_once_and_again_tried_where_the_registry_is_away() -> None:
    book = Book()
    watch = DriftWatch(book, ANSWER_LOG, np.random.default_rng(1).random)
    drifting, steady = a_live("digits"), a_live("faces")
    for score in DRAW.normal(2, 1, 200):
        watch.observe(drifting, an_answer(score), "carla")
    for score in DRAW.normal(0, 1, 200):
        watch.observe(steady, an_answer(score, rows=2), "carla")
    book.away = True
    with refused(Reason.REGISTRY_UNAVAILABLE):
        watch.report()
    book.away = False
    watch.report()
    watch.report()
    ((principal, origin, model, version, finding),) = book.told
    assert (principal, origin, model, version) == ("gateway", ANSWER_LOG, "digits", 1)
    assert finding["log10_evidence"] >= 3
    assert 5 < finding["requests"] == finding["distinct"] < 200
    assert (finding["callers"], finding["busiest_caller_percent"]) == (1, 100)
    assert watch.withdrawn(drifting.digest)
    assert not watch.withdrawn(steady.digest)


def test_what_another_gateway_withdrew_is_known_here() -> None:
    book = Book()
    watch = DriftWatch(book, ANSWER_LOG)
    book.withdraw("gateway", "other", "digits", 1, {})
    watch.report()
    assert watch.withdrawn("sha256:digits")
