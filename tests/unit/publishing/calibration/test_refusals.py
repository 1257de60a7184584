"""Rows that are far from the training rows and not made are suspect, and not refused."""

from dataclasses import replace

import numpy as np
import pytest

from inference.screening.detector import Detector, Verdict
from inference.screening.first_stage import FEATURES
from publishing.calibration.detector_fit import (
    FitRows,
    RowSubset,
    calibrated,
    draft_detector,
    recalibrated,
)
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.two_stages import by_margin, readings
from tests.support.builders.models.version_files import VersionFiles

# An attack shows in both features, a row of another source in the second one alone.
MADE, FAR = (5.0, 3.0), (0.0, 3.5)


def features(place: tuple[float, float], rows: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(place, 0.7, (rows, 2))
    return drawn.astype(np.float32)


def part(place: tuple[float, float], rows: int, seed: int) -> RowSubset:
    found = features(place, rows, seed)
    return RowSubset(found, np.arange(rows), found)


SEEN = FitRows(
    part((0, 0), 300, 0),
    (part((0, 0), 300, 1),),
    {"fgsm-0.1": part(MADE, 300, 2)},
    stretch=5.0,
    retaken=(part(FAR, 300, 3), part(FAR, 300, 4)),
)


def found() -> Detector:
    return calibrated(draft_detector(SEEN), features((0, 0), 480, 5), {})


def verdicts(detector: Detector, rows: np.ndarray) -> list[Verdict]:
    return [detector.verdict(score) for score in detector.scores(rows)]


def test_a_far_row_is_suspect_where_images_were_retaken_and_refused_where_not() -> None:
    far = features(FAR, 100, 6)
    unseen = calibrated(draft_detector(replace(SEEN, retaken=())), features((0, 0), 480, 5), {})
    assert unseen.refusal is None
    assert verdicts(unseen, far).count(Verdict.ADVERSARIAL) > 50
    spared = verdicts(found(), far)
    assert spared.count(Verdict.ADVERSARIAL) <= 10
    assert spared.count(Verdict.SUSPECT) > 80


def test_a_row_that_was_made_is_refused_all_the_same() -> None:
    assert verdicts(found(), features(MADE, 100, 7)).count(Verdict.ADVERSARIAL) > 95


def test_clean_rows_are_suspect_as_often_as_without() -> None:
    clean = features((0, 0), 480, 5)
    unseen = calibrated(draft_detector(replace(SEEN, retaken=())), clean, {})
    assert found().suspect_threshold == unseen.suspect_threshold


def test_the_level_follows_the_traffic_of_a_recalibration() -> None:
    before = found()
    after = recalibrated(before, features((0.5, 0.5), 400, 8))
    assert before.refusal is not None
    assert after.refusal is not None
    assert after.refusal.odds == before.refusal.odds
    assert after.refusal.level > before.refusal.level
    assert after.refusal.level == pytest.approx(after.suspect_threshold, abs=1e-5)
    assert Detector.decode(after.encode()) == after


def test_with_a_first_stage_a_far_row_is_suspect_too() -> None:
    model = Perceptron.random(seed=3)
    stage = by_margin(readings(model, VersionFiles.of(model)), -1.0)

    def measured(rows: np.ndarray, margin: float) -> np.ndarray:
        """A row whose margin is below 1 goes on to the graph."""
        first = np.zeros((len(rows), FEATURES), np.float32)
        first[:, 0] = margin
        return np.concatenate([first, rows], axis=1)

    clean = np.concatenate(
        [measured(features((0, 0), 100, 5), 2.0), measured(features((0, 0), 380, 9), 0.5)]
    )
    staged = calibrated(replace(draft_detector(SEEN), first=stage), clean, {})
    far = verdicts(staged, measured(features(FAR, 100, 6), 0.5))
    assert far.count(Verdict.ADVERSARIAL) <= 20
    assert far.count(Verdict.SUSPECT) > 70
    assert verdicts(staged, measured(features(MADE, 50, 7), 0.5)).count(Verdict.ADVERSARIAL) > 45
    assert Detector.decode(staged.encode()) == staged
