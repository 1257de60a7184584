"""FGSM and PGD made by the response graph alone."""

import numpy as np
import onnxruntime
import pytest

from inference.screening import gradient_attacks
from tests.support.builders.models.onnx_models import Perceptron

MODEL = Perceptron.random(seed=4)
X = np.random.default_rng(2).random((40, MODEL.inputs), np.float32)


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(MODEL.response(), providers=["CPUExecutionProvider"])


def answers(x: np.ndarray) -> np.ndarray:
    return MODEL.logits(x).argmax(axis=1)


def test_a_step_is_as_large_as_asked_and_stays_in_the_domain(
    session: onnxruntime.InferenceSession,
) -> None:
    moved = gradient_attacks.fgsm(session, X, 0.25, 0.0, 1.0)
    assert moved.dtype == np.float32
    assert moved.min() >= 0
    assert moved.max() <= 1
    inside = (moved > 0) & (moved < 1)
    assert np.abs(moved - X)[inside] == pytest.approx(0.25, abs=1e-6)


def test_the_own_prediction_is_the_label_that_is_left_out(
    session: onnxruntime.InferenceSession,
) -> None:
    given = gradient_attacks.fgsm(session, X, 0.1, 0.0, 1.0, answers(X))
    assert np.array_equal(gradient_attacks.fgsm(session, X, 0.1, 0.0, 1.0), given)


def test_a_walk_stays_in_the_ball_and_in_the_domain(session: onnxruntime.InferenceSession) -> None:
    start = X + np.random.default_rng(5).uniform(-3, 3, X.shape).astype(np.float32)
    moved = gradient_attacks.pgd(session, X, answers(X), 0.2, 0.05, 20, 0.0, 1.0, start)
    assert float(np.abs(moved - X).max()) <= 0.2 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_a_walk_with_a_fixed_label_gets_further_than_a_step(
    session: onnxruntime.InferenceSession,
) -> None:
    own = answers(X)
    stepped = gradient_attacks.fgsm(session, X, 0.3, 0.0, 1.0, own)
    walked = gradient_attacks.pgd(session, X, own, 0.3, 0.05, 20, 0.0, 1.0)
    changed = [float(np.mean(answers(moved) != own)) for moved in (stepped, walked)]
    assert changed[1] >= changed[0] > 0


def test_no_steps_are_no_attack(session: onnxruntime.InferenceSession) -> None:
    assert np.array_equal(gradient_attacks.pgd(session, X, answers(X), 0.2, 0.1, 0, 0.0, 1.0), X)
