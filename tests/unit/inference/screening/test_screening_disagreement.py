"""Screening of answers whose class differs from that of the float32 model."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.screening.calibration import Calibration, ScoreThreshold
from inference.screening.detector import (
    DISAGREEING,
    Detector,
    Disagreement,
    Verdict,
    disagreeing,
)
from inference.screening.scoring import FeatureScaling, ScoreTail, ScoringWeights
from publishing.calibration.detector_fit import (
    CONFIDENCE,
    FitRows,
    RowSubset,
    calibrated,
    draft_detector,
    recalibrated,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.receipts.answer_entry import FLOAT32
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.two_stages import two_stage_files

CLEAN = tuple((np.arange(480) / 200 - 1.5).tolist())
STILL = ScoringWeights(0.0, (0.0,), (0.0,), ScoreTail(0.0, 1.0))
ROWS = 400


def detector(counts_for: Disagreement | None = Verdict.ADVERSARIAL, **changes: Any) -> Detector:
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
        (FLOAT32, ["clean", "clean", "suspect", "adversarial"]),
    ],
)
def test_it_counts_for_what_the_document_says(
    counts_for: Disagreement, verdicts: list[str]
) -> None:
    given = detector(counts_for)
    scores = given.scores(features(np.array([0.0, 0.0, 2.0, 4.0]), np.array([0, 1, 1, 1])))
    assert [given.verdict(score) for score in scores] == verdicts
    assert scores.max() == (DISAGREEING if counts_for is Verdict.ADVERSARIAL else 4.0)


def test_whose_float32_logits_left_is_told_by_their_features() -> None:
    rows = features(np.zeros(4), np.array([0, 1, np.nan, 1]))
    apart = detector(FLOAT32).answered_float32(rows)
    assert apart is not None
    assert apart.tolist() == [False, True, False, True]
    assert detector(FLOAT32).answered_float32(rows[:1]) is None
    assert detector(Verdict.CLEAN).answered_float32(rows) is None


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


@pytest.mark.parametrize("counts_for", [None, *Verdict, FLOAT32])
def test_a_document_says_what_it_counts_for_or_nothing(counts_for: Disagreement | None) -> None:
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


def test_a_document_says_below_which_margin_float32_is_asked() -> None:
    before = detector(FLOAT32, least_margin=1.5)
    after = Detector.decode(before.encode())
    assert (after, after.least_margin) == (before, 1.5)
    assert after.width == detector(FLOAT32).width
    assert "least_margin" not in json.loads(detector(FLOAT32).encode())


@pytest.mark.parametrize(
    ("counts_for", "value"),
    [(FLOAT32, -1), (FLOAT32, "1.5"), (FLOAT32, None), (Verdict.ADVERSARIAL, 1.5), (None, 1.5)],
)
def test_a_margin_without_meaning_is_refused(counts_for: Disagreement | None, value: Any) -> None:
    document = json.loads(detector(counts_for).encode()) | {"least_margin": value}
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


def test_a_version_that_is_made_now_answers_in_float32_and_spends_no_rank() -> None:
    rows = clean(ROWS, 0)[:, :1].astype(np.float32)
    part = RowSubset(np.zeros((ROWS, 1)), np.arange(ROWS), rows)
    harmful = {"fgsm-0.1": replace(part, features=part.features + 3)}
    draft = draft_detector(FitRows(part, (part,), harmful, compared=True))
    assert draft.disagreement == FLOAT32
    assert draft_detector(FitRows(part, (part,), harmful)).disagreement is None
    alike, apart = (calibrated(draft, clean(480, number), {}) for number in (0, 480))
    assert alike == apart
    assert alike.calibration.confidence == CONFIDENCE


def test_a_recalibration_changes_thresholds_alone() -> None:
    for counts_for in (FLOAT32, None):
        traffic = clean(480, 5)[:, : 1 + (counts_for is not None)].astype(np.float32)
        found = recalibrated(detector(counts_for), traffic)
        assert found.disagreement == counts_for
        assert Detector.decode(found.encode()) == found
