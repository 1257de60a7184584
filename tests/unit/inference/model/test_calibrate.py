"""Fitting and calibrating a detector, on a small response graph."""

import numpy as np
import onnxruntime
import pytest

from inference.model.config import InputDomain
from inference.runtime import response_contract
from inference.runtime.graph_rewrites import with_gradient
from inference.screening.detector import Detector
from publishing.attacks.probe import SHIFTS, Probe
from publishing.calibration.detector_fit import calibrate, fit_detector
from publishing.calibration.screening_report import auroc, report_of
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.onnx_models import Perceptron

MODEL = Perceptron.random(seed=6)
DOMAIN = InputDomain(0.0, 1.0)
EPS = 0.05


def rows(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).random((n, MODEL.inputs), np.float32)


def opened(model: Perceptron) -> onnxruntime.InferenceSession:
    graph = with_gradient(model.response(), response_contract.X_ADV, response_contract.GRADIENT)
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def fitted() -> Detector:
    generator = np.random.default_rng(0)
    return fit_detector(opened(MODEL), rows(1, 200), rows(2, 300), DOMAIN, EPS, generator)


def test_the_document_states_what_the_detector_promises(fitted: Detector) -> None:
    calibration = fitted.calibration
    assert (calibration.rows, calibration.confidence) == (300, 0.6)
    assert (calibration.adversarial.bound, calibration.suspect.bound) == (0.01, 0.05)
    assert "pgd-0.2" in fitted.fitted_on
    assert Detector.decode(fitted.encode()) == fitted


def test_a_fit_repeats(fitted: Detector) -> None:
    generator = np.random.default_rng(0)
    again = fit_detector(opened(MODEL), rows(1, 200), rows(2, 300), DOMAIN, EPS, generator)
    assert again == fitted


def test_few_rows_have_the_looser_bounds() -> None:
    scores = np.random.default_rng(3).normal(size=298)
    few, many = calibrate(scores, {}), calibrate(np.append(scores, 0.0), {})
    assert (few.adversarial.bound, few.suspect.bound) == (0.05, 0.1)
    assert (many.adversarial.bound, many.suspect.bound) == (0.01, 0.05)


def test_thresholds_are_clean_scores_of_their_rank() -> None:
    scores = np.random.default_rng(4).permutation(480).astype(np.float64)
    found = calibrate(scores, {})
    for limit in (found.adversarial, found.suspect):
        assert np.sum(scores > limit.threshold) == limit.rank - 1


@pytest.mark.parametrize("scores", [np.zeros(58), np.zeros(0), np.append(np.zeros(500), np.nan)])
def test_too_few_scores_are_refused(scores: np.ndarray) -> None:
    with pytest.raises(SealgateError) as refused:
        calibrate(scores, {})
    assert refused.value.reason is Reason.CALIBRATION_TOO_SMALL


def test_a_model_that_nothing_moves_cannot_be_screened() -> None:
    still = Perceptron(np.zeros_like(MODEL.w1), MODEL.b1, MODEL.w2, np.array([9, 0, 0], np.float32))
    generator = np.random.default_rng(0)
    with pytest.raises(SealgateError) as refused:
        fit_detector(opened(still), rows(1, 50), rows(2, 300), DOMAIN, EPS, generator)
    assert refused.value.reason is Reason.CALIBRATION_TOO_SMALL


def test_the_report_speaks_of_clean_rows_noise_and_attacks(fitted: Detector) -> None:
    probe = Probe(opened(MODEL), EPS, DOMAIN)
    report = report_of(probe, fitted, rows(5, 400), np.random.default_rng(1))
    assert report["rows"] == 400
    assert set(report["shifts"]) == set(SHIFTS)
    assert set(report["attacks"]) >= {"fgsm-0.1", "pgd-0.2"}
    caught = report["attacks"]["pgd-0.2"]
    assert 0 <= caught["flagged"] <= caught["at_least_suspect"] <= 1
    assert caught["auroc"] > 0.5


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    negative, positive = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0])
    pairs = [(p > n) + (p == n) / 2 for n in negative for p in positive]
    assert auroc(negative, positive) == pytest.approx(np.mean(pairs), abs=1e-4)
