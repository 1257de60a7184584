"""The detector's document, its scores and its verdicts."""

import json
from typing import Any

import numpy as np
import pytest

from inference.screening.calibration import BenignShift, Calibration, ScoreThreshold
from inference.screening.detector import Detector, Verdict
from inference.screening.scoring import FeatureScaling, RefusalScore, ScoreTail, ScoringWeights
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical

WIDTH = 3
CLEAN = tuple((np.arange(480) / 200 - 1.5).tolist())


def detector(**changes: Any) -> Detector:
    parts: dict[str, Any] = {
        "scaling": FeatureScaling((0.0, 1.0, -2.0), (1.0, 0.5, 2.0), 6.0),
        "clean": ScoringWeights(
            0.5, (0.0, 0.0, 0.0), (2.0, 0.0, 0.0, 1.0, 0.0, 1.0), ScoreTail(1.0, 0.5)
        ),
        "trained": ScoringWeights(
            0.25, (1.0, -2.0, 0.5), (0.5, 0.25, 0.0, -1.0, 0.125, 2.0), ScoreTail(0.5, 2.0)
        ),
        "calibration": Calibration(
            CLEAN,
            0.95,
            ScoreThreshold(0.01, 2, 3.5),
            ScoreThreshold(0.05, 16, 1.0),
            (BenignShift("noise", 16, 3.25),),
        ),
        "fitted_on": ("fgsm-0.1", "pgd-0.2"),
    }
    return Detector(**parts | changes)


def document() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(detector().encode())
    return value


def refuse(value: Any) -> None:
    with pytest.raises(SealgateError) as refused:
        Detector.decode(canonical.encode(value))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_detector_survives_its_document() -> None:
    before = detector()
    after = Detector.decode(before.encode())
    assert after == before
    assert after.encode() == before.encode()
    features = np.random.default_rng(1).normal(size=(9, WIDTH))
    assert np.array_equal(after.scores(features), before.scores(features))


def test_scores_are_the_stated_polynomial() -> None:
    found = detector().scores(np.array([[2.0, 2.0, 0.0]], np.float32))
    z = np.array([2.0, 2.0, 1.0])
    triangle = np.array([[0.5, 0.25, 0.0], [0.0, -1.0, 0.125], [0.0, 0.0, 2.0]])
    assert found.dtype == np.float64
    odds = 0.25 + z @ np.array([1.0, -2.0, 0.5]) + z @ triangle @ z
    distance = np.log1p(0.5 + 2 * z[0] ** 2 + z[1] ** 2 + z[2] ** 2)
    assert found == pytest.approx([(distance - 1.0) / 0.5 / 2 + (odds - 0.5) / 2.0])


def test_far_features_are_cut_off() -> None:
    far, at_limit = detector().scores(np.array([[1e9, 1.0, -2.0], [6.0, 1.0, -2.0]]))
    assert far == at_limit


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_cannot_be_measured_is_adversarial(bad: float) -> None:
    given = detector()
    bad_row, good_row = given.scores(np.array([[0.0, bad, 0.0], [0.0, 1.0, -2.0]]))
    assert np.isnan(bad_row)
    assert given.verdict(bad_row) is Verdict.ADVERSARIAL
    assert np.isfinite(good_row)


@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        (-5.0, Verdict.CLEAN),
        (1.0, Verdict.CLEAN),
        (1.0001, Verdict.SUSPECT),
        (3.5, Verdict.SUSPECT),
        (3.5001, Verdict.ADVERSARIAL),
        (float("inf"), Verdict.ADVERSARIAL),
    ],
)
def test_a_score_is_judged_by_what_it_exceeds(score: float, verdict: Verdict) -> None:
    assert detector().verdict(score) is verdict
    assert (detector().suspect_threshold, detector().threshold) == (1.0, 3.5)


def test_a_p_value_ranks_a_score_among_the_clean_ones() -> None:
    calibration = detector().calibration
    assert calibration.p_value(CLEAN[-2]) == pytest.approx(3 / 481)
    assert calibration.p_value(-9.0) == 1
    assert calibration.p_value(9.0) == calibration.p_value(float("nan")) == pytest.approx(1 / 481)


def test_tails_are_exponential_beyond_the_median() -> None:
    scores = np.random.default_rng(5).exponential(2.0, 100_000)
    tail = ScoreTail.of(scores)
    chance = 0.5 * np.exp(-tail.surprise(np.quantile(scores, [0.9, 0.99])))
    assert chance == pytest.approx([0.1, 0.01], rel=0.1)


@pytest.mark.parametrize("shape", [(4, WIDTH + 1), (WIDTH,)])
def test_another_width_is_an_error_of_the_program(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="features must be"):
        detector().scores(np.zeros(shape))


@pytest.mark.parametrize("at", ["type", "scaling", "clean", "trained", "calibration", "fitted_on"])
def test_every_member_is_needed(at: str) -> None:
    value = document()
    del value[at]
    refuse(value)


def test_nothing_else_is_taken() -> None:
    refuse(document() | {"comment": "trust me"})
    value = document()
    value["scaling"]["mode"] = "none"
    refuse(value)


@pytest.mark.parametrize(
    ("part", "member", "value"),
    [
        ("scaling", "center", [0, 1]),
        ("scaling", "center", []),
        ("scaling", "center", [0, "1", 2]),
        ("scaling", "center", [0, True, 2]),
        ("scaling", "spread", [1, 0, 2]),
        ("scaling", "spread", [1, -1, 2]),
        ("scaling", "limit", 0),
        ("scaling", "limit", "6"),
        ("clean", "bias", None),
        ("clean", "linear", [1, 2]),
        ("trained", "quadratic", [1, 2, 3]),
        ("trained", "tail", {"median": 0, "decay": 0}),
        ("trained", "tail", {"median": 0}),
        ("calibration", "scores", []),
        ("calibration", "scores", [*CLEAN[:-1], "1"]),
        ("calibration", "scores", CLEAN[::-1]),
        ("calibration", "confidence", 0.4),
        ("calibration", "confidence", 1),
        # 298 rows do not back a bound of 1%, nor does the third of 480.
        ("calibration", "scores", CLEAN[:298]),
        ("calibration", "adversarial", {"bound": 0.01, "rank": 3, "threshold": 3.5}),
        ("calibration", "adversarial", {"bound": 0.01, "rank": 0, "threshold": 3.5}),
        ("calibration", "adversarial", {"bound": 1, "rank": 2, "threshold": 3.5}),
        ("calibration", "adversarial", {"bound": 0.01, "rank": 2}),
        ("calibration", "suspect", {"bound": 0.05, "rank": 16, "threshold": 4}),
        # The second largest clean score is above it.
        ("calibration", "adversarial", {"bound": 0.01, "rank": 2, "threshold": 0.5}),
        ("calibration", "shifts", [{"name": "noise", "rank": 16, "score": 3.75}]),
        ("calibration", "shifts", [{"name": "noise", "rank": 40, "score": 3.25}]),
        ("calibration", "shifts", [{"name": 1, "rank": 16, "score": 3.25}]),
        ("calibration", "shifts", {}),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(part: str, member: str, value: Any) -> None:
    whole = document()
    whole[part][member] = value
    refuse(whole)


def test_another_type_is_refused() -> None:
    refuse(document() | {"type": "sealgate/detector/v1"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        json.dumps(document()).encode(),
        detector().encode() + b"\n",
        detector().encode().replace(b'"limit":6', b'"limit":NaN'),
        detector().encode().replace(b'"limit":6', b'"limit":6.0'),
    ],
)
def test_only_the_canonical_bytes_are_read(data: bytes) -> None:
    with pytest.raises(SealgateError) as refused:
        Detector.decode(data)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_as_many_weights_as_features() -> None:
    with pytest.raises(SealgateError) as refused:
        detector(trained=ScoringWeights(0.0, (1.0,), (1.0,), ScoreTail(0.0, 1.0)))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def sparing(level: float = 1.5) -> Detector:
    """Refuses only rows whose first feature is large, too."""
    odds = ScoringWeights(0.0, (4.0, 0.0, 0.0), (0.0,) * 6, ScoreTail(0.0, 1.0))
    return detector(refusal=RefusalScore(level, odds))


def test_a_refusal_survives_its_document_and_earlier_documents_have_none() -> None:
    before = sparing()
    after = Detector.decode(before.encode())
    assert after == before
    features = np.random.default_rng(1).normal(size=(9, WIDTH))
    assert np.array_equal(after.scores(features), before.scores(features))
    assert "refusal" not in document()


def test_a_score_rises_above_the_level_only_with_both() -> None:
    features = np.random.default_rng(2).normal(scale=3, size=(200, WIDTH))
    plain, spared = detector().scores(features), sparing().scores(features)
    assert np.array_equal(spared[plain <= 1.5], plain[plain <= 1.5])
    above = plain > 1.5
    assert np.all(spared[above] >= 1.5)
    assert np.all(spared <= plain)
    assert np.any(spared[above] == 1.5)
    assert np.any(spared[above] > 1.5)


def test_a_spared_row_is_suspect() -> None:
    far = np.array([[-3.0, 5.0, 9.0]])
    (plain,), (spared,) = detector().scores(far), sparing().scores(far)
    assert detector().verdict(plain) is Verdict.ADVERSARIAL
    assert sparing().verdict(spared) is Verdict.SUSPECT


def test_no_refusal_spares_a_row_that_cannot_be_measured() -> None:
    (score,) = sparing().scores(np.array([[-3.0, np.nan, 9.0]]))
    assert sparing().verdict(score) is Verdict.ADVERSARIAL


@pytest.mark.parametrize("level", [1.0, 0.5, "1.5", None])
def test_a_level_that_would_leave_rows_clean_is_refused(level: Any) -> None:
    value = json.loads(sparing().encode())
    value["refusal"]["level"] = level
    refuse(value)


def test_a_refusal_of_other_features_is_refused() -> None:
    value = json.loads(sparing().encode())
    value["refusal"]["odds"]["linear"] = [4, 0]
    value["refusal"]["odds"]["quadratic"] = [0, 0, 0]
    refuse(value)
    refuse(json.loads(sparing().encode()) | {"refusal": {"level": 1.5}})
