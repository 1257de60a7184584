"""Attacks beside those in the maximum norm, which detectors are shown and reports list."""

import numpy as np
import pytest

from inference.model.config import InputDomain
from inference.runtime import response_contract
from inference.runtime.graph_rewrites import with_gradient
from publishing.attacks.probe import RADII, SPARSE, Probe
from publishing.calibration.detector_fit import attack_fit_rows
from publishing.worker_tasks.forward import ResponseGraph
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import clean_rows

MODEL = Perceptron.random(seed=11)
GRAPH = ResponseGraph.of(MODEL.response())
PROBE = Probe(GRAPH, 0.05, InputDomain(0.0, 1.0))
# Some places are background, as in an image.
X = np.where(clean_rows(MODEL, 200, seed=1) < 0.3, 0, clean_rows(MODEL, 200, seed=1))


@pytest.fixture(scope="module")
def made() -> dict[str, np.ndarray]:
    return dict(PROBE.attacks(X, np.random.default_rng(0)))


def turned(rows: np.ndarray) -> float:
    return float(np.mean(PROBE.answers(rows) != PROBE.answers(X)))


def test_the_gradient_is_that_whose_sign_is_stepped_along() -> None:
    given = {"x": X, "label": PROBE.answers(X), "eps": np.float32(1e-3)}
    given |= {"clip_min": np.float32(-9), "clip_max": np.float32(9)}
    feeds = {name: np.asarray(value) for name, value in given.items()}
    moved, gradient = GRAPH.run([response_contract.X_ADV, response_contract.GRADIENT], feeds)
    assert (np.abs(gradient) > 0).mean() > 0.9
    assert np.array_equal(np.sign(moved - X), np.sign(gradient))


def test_a_graph_without_a_sign_is_left_as_it_is() -> None:
    data = MODEL.serving()
    assert with_gradient(data, response_contract.LOGITS, "gradient") == data


def test_a_mask_leaves_the_background_alone(made: dict[str, np.ndarray]) -> None:
    moved = made["masked-0.2"]
    assert np.array_equal(moved[X == 0], X[X == 0])
    assert np.abs(moved - X).max() <= 0.2 + 1e-6
    assert turned(moved) > 0.2


def test_euclidean_attacks_keep_their_ball(made: dict[str, np.ndarray]) -> None:
    for radius in RADII:
        moved = made[f"l2-{radius:g}"]
        assert np.linalg.norm(moved - X, axis=1).max() <= radius + 1e-5
        assert moved.min() >= 0
        assert moved.max() <= 1
    assert turned(made["l2-1"]) > turned(made["masked-0.2"])


def test_a_sparse_attack_changes_few_places_and_no_more_than_it_must(
    made: dict[str, np.ndarray],
) -> None:
    moved = made[SPARSE]
    changed = (moved != X).sum(axis=1)
    assert changed.max() <= 3
    assert turned(moved) > 0.2
    assert np.isin(moved[moved != X], [0, 1]).all()
    assert (changed[PROBE.answers(moved) != PROBE.answers(X)] >= 1).all()


def test_a_detector_is_shown_them() -> None:
    seen = attack_fit_rows(PROBE, X, np.random.default_rng(0))
    assert {"masked-0.2", "l2-1", "l2-2", SPARSE} <= seen.harmful.keys()
