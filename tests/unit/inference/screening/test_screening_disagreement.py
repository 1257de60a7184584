"""What follows where the answer is of another class than the float32 model that was measured."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.screening.calibration import Calibration, ScoreThreshold
from inference.screening.detector import DISAGREEING, Detector, Verdict, disagreeing
from inference.screening.scoring import FeatureScaling, ScoreTail, ScoringWeights
from publishing.calibration.detector_fit import (
    CONFIDENCE,
    LESS_CONFIDENCE,
    FitRows,
    RowSubset,
    calibrated,
    draft_detector,
    recalibrated,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.two_stages import two_stage_files

CLEAN = tuple((np.arange(480) / 200 - 1.5).tolist())
STILL = ScoringWeights(0.0, (0.0,), (0.0,), ScoreTail(0.0, 1.0))
ROWS = 400


def detector(counts_for: Verdict | None = Verdict.ADVERSARIAL, **changes: Any) -> Detector:
    """One whose score is its one feature of the graph."""
    parts: dict[str, Any] = {
        "scaling": FeatureScaling((0.0,), (1.0,), 100.0),
        "clean": STILL,
        "trained": replace(STILL, linear=(1.0,)),
        "calibration": Calibration(
            CLEAN, 0.95, ScoreThreshold(0.01, 2, 3.5), ScoreThreshold(0.05, 16, 1.0)
        ),
        "fitted_on": ("fgsm-0.1",),
        "disagreement": counts_for,
    }
    return Detector(**parts | changes)


def features(scores: np.ndarray, apart: np.ndarray) -> np.ndarray:
    return np.stack([scores, apart], axis=1)


def clean(n: int, apart: int, seed: int = 1) -> np.ndarray:
    """Features of n rows, on so many of which the answers disagree."""
    return features(np.random.default_rng(seed).normal(size=n), np.arange(n) < apart)


def test_disagreement_is_of_classes_and_not_of_logits() -> None:
    served = np.array([[0.0, 1.0], [3.0, 2.0], [0.5, 0.4]], np.float32)
    twin = np.array([[0.0, 9.0], [2.0, 3.0], [0.4, 0.5]], np.float32)
    assert disagreeing(served, twin).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("counts_for", "verdicts"),
    [
        (Verdict.ADVERSARIAL, ["clean", "adversarial", "adversarial", "adversarial"]),
        (Verdict.SUSPECT, ["clean", "suspect", "suspect", "adversarial"]),
        (Verdict.CLEAN, ["clean", "clean", "suspect", "adversarial"]),
    ],
)
def test_it_counts_for_what_the_document_says(counts_for: Verdict, verdicts: list[str]) -> None:
    given = detector(counts_for)
    scores = given.scores(features(np.array([0.0, 0.0, 2.0, 4.0]), np.array([0, 1, 1, 1])))
    assert [given.verdict(score) for score in scores] == verdicts
    assert scores.max() == (DISAGREEING if counts_for is Verdict.ADVERSARIAL else 4.0)


def test_what_says_neither_is_no_agreement() -> None:
    given = detector()
    odd = features(np.zeros(4), np.array([np.nan, 0.5, -1.0, np.inf]))
    assert (given.scores(odd) == DISAGREEING).all()
    unmeasured = given.scores(features(np.full(2, np.nan), np.array([0.0, 1.0])))
    assert np.isnan(unmeasured).all()


def test_a_row_that_the_first_stage_lets_pass_is_not_compared() -> None:
    _, staged = two_stage_files(Perceptron.random(), -1.0)
    given = replace(staged, disagreement=Verdict.ADVERSARIAL)
    assert given.width == staged.width + 1
    rows = np.zeros((2, given.width))
    # Its score is the margin's, with the sign turned.
    rows[:, 0], rows[:, -1] = [2.0, 0.5], 1.0
    scores = given.scores(rows)
    assert given.escalates(rows).tolist() == [False, True]
    assert (scores[0], scores[1]) == (-1.0, DISAGREEING)


def test_parts_of_the_score_do_not_see_it() -> None:
    plain, told = detector(None), detector()
    rows = np.linspace(-1, 1, 5)[:, np.newaxis]
    both = features(rows[:, 0], np.ones(5))
    assert np.array_equal(told.graph_scores(both), plain.graph_scores(rows))
    assert np.array_equal(told.surprises(both)[1], plain.surprises(rows)[1])


@pytest.mark.parametrize("counts_for", [None, *Verdict])
def test_a_document_says_what_it_counts_for_or_nothing(counts_for: Verdict | None) -> None:
    before = detector(counts_for)
    after = Detector.decode(before.encode())
    assert after == before
    assert (after.disagreement, after.width) == (counts_for, 1 + (counts_for is not None))
    assert ("disagreement" in json.loads(before.encode())) is (counts_for is not None)


@pytest.mark.parametrize("value", ["flag", "", None, True, ["suspect"]])
def test_another_word_is_refused(value: Any) -> None:
    document = json.loads(detector().encode()) | {"disagreement": value}
    with pytest.raises(SealgateError) as refused:
        Detector.decode(canonical.encode(document))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


@pytest.mark.parametrize(
    ("counts_for", "thresholds"),
    [(Verdict.SUSPECT, (3.5, 3.5)), (Verdict.ADVERSARIAL, (DISAGREEING, 1.0))],
)
def test_thresholds_under_which_it_counts_for_nothing_are_refused(
    counts_for: Verdict, thresholds: tuple[float, float]
) -> None:
    upper, lower = thresholds
    limits = Calibration(
        CLEAN, 0.95, ScoreThreshold(0.01, 2, upper), ScoreThreshold(0.05, 16, lower)
    )
    with pytest.raises(SealgateError) as refused:
        detector(counts_for, calibration=limits)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


@pytest.mark.parametrize(
    ("apart", "backing", "counts_for"),
    [
        (0, 480, Verdict.ADVERSARIAL),
        (2, 480, Verdict.ADVERSARIAL),
        (3, 480, Verdict.SUSPECT),
        (10, 480, Verdict.SUSPECT),
        (11, 480, Verdict.CLEAN),
        (ROWS, 480, Verdict.CLEAN),
        # Fewer calibration rows leave few ranks above a threshold, and one would take half.
        (0, 110, Verdict.SUSPECT),
        (11, 110, Verdict.SUSPECT),
        (21, 110, Verdict.CLEAN),
    ],
)
def test_the_fit_slice_says_what_it_is_to_count_for(
    apart: int, backing: int, counts_for: Verdict
) -> None:
    part = RowSubset(np.zeros((ROWS, 1)), np.arange(ROWS), clean(ROWS, 0)[:, :1].astype(np.float32))
    harmful = {"fgsm-0.1": replace(part, features=part.features + 3)}
    found = draft_detector(FitRows(part, (part,), harmful, apart / ROWS), backing)
    assert found.disagreement is counts_for
    assert draft_detector(FitRows(part, (part,), harmful)).disagreement is None


@pytest.mark.parametrize(
    ("apart", "counts_for", "confidence"),
    [
        (0, Verdict.ADVERSARIAL, CONFIDENCE),
        # The rank that backs 1% of 480 is the second.
        (1, Verdict.ADVERSARIAL, CONFIDENCE),
        (2, Verdict.SUSPECT, LESS_CONFIDENCE),
        # And for 5% the sixteenth, two of which are at the upper threshold or above by themselves.
        (13, Verdict.SUSPECT, LESS_CONFIDENCE),
        (14, Verdict.CLEAN, LESS_CONFIDENCE),
    ],
)
def test_calibration_rows_may_leave_less_room(
    apart: int, counts_for: Verdict, confidence: float
) -> None:
    found = calibrated(detector(), clean(480, apart), {})
    assert (found.disagreement, found.calibration.confidence) == (counts_for, confidence)
    assert Detector.decode(found.encode()) == found
    scores = found.scores(clean(480, apart))
    assert tuple(np.sort(scores)) == found.calibration.scores
    assert (scores > found.threshold).sum() <= found.calibration.adversarial.rank - 1
    assert (scores > found.suspect_threshold).sum() <= found.calibration.suspect.rank - 1


def test_what_was_wanted_costs_no_confidence() -> None:
    for counts_for in (Verdict.SUSPECT, Verdict.CLEAN):
        found = calibrated(detector(counts_for), clean(480, 3), {})
        assert (found.disagreement, found.calibration.confidence) == (counts_for, CONFIDENCE)


def test_a_benign_change_must_leave_room_too() -> None:
    # Of 480 rows, 5% backs the sixteenth.
    for apart, counts_for in ((15, Verdict.ADVERSARIAL), (16, Verdict.SUSPECT)):
        found = calibrated(detector(), clean(480, 0), {"noise": clean(480, apart)})
        assert found.disagreement is counts_for


def test_a_recalibration_looks_at_traffic() -> None:
    found = recalibrated(detector(), clean(480, 5).astype(np.float32))
    assert found.disagreement is Verdict.SUSPECT
    plain = recalibrated(detector(None), clean(480, 5)[:, :1].astype(np.float32))
    assert (plain.disagreement, plain.calibration.confidence) == (None, CONFIDENCE)


def _drawn(generator: np.random.Generator, n: int, rate: float) -> np.ndarray:
    scores = generator.normal(size=n)
    # Honest rows disagree near the border, where scores are higher.
    apart = generator.random(n) < np.where(scores > 0, 2 * rate, 0)
    return features(scores, apart)


def _alone(draft: Detector, rows: np.ndarray) -> Detector:
    """Calibrated as if there were no disagreement."""
    plain = calibrated(replace(draft, disagreement=None), rows[:, :1], {})
    return replace(plain, disagreement=Verdict.ADVERSARIAL)


def _broken(calibrate: Callable[[np.ndarray], Detector], rate: float) -> tuple[int, int]:
    """In how many of 200 calibrations later rows exceed the bound of either threshold, where 95 and
    90% confidence is stated.
    """
    generator, broken = np.random.default_rng(7), [0, 0]
    for _ in range(200):
        found = calibrate(_drawn(generator, 400, rate))
        limits, scores = found.calibration, found.scores(_drawn(generator, 4000, rate))
        exceeded = any(
            float(np.mean(scores > limit.threshold)) > limit.bound
            for limit in (limits.adversarial, limits.suspect)
        )
        broken[limits.confidence == LESS_CONFIDENCE] += exceeded
    return broken[0], broken[1]


@pytest.mark.parametrize("rate", [0.0, 0.002, 0.006, 0.01, 0.05])
def test_the_bound_is_of_scores_and_disagreement_together(rate: float) -> None:
    """Each of both limits may fail in one of twenty, or where 90% is stated in one of ten; and so
    many more that chance exceeds in one of a thousand.
    """
    sure, less_sure = _broken(lambda rows: calibrated(detector(), rows, {}), rate)
    assert sure <= 34
    assert sure + less_sure <= 58


def test_a_bound_of_scores_alone_does_not_hold_with_disagreement() -> None:
    """What the joint calibration is for."""
    assert _broken(lambda rows: _alone(detector(), rows), 0.01)[0] > 100
