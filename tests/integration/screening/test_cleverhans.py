"""The response graph's step is CleverHans' own, on the same weights."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

from demo import train_models
from inference.screening import gradient_attacks
from publishing.calibration.detector_fit import fit_detector
from tests.support.builders.models.demo_models import DemoModel, opened
from training.export.classifier import export_response

pytestmark = pytest.mark.slow

SIZES = (0.01, 0.03, 0.1, 0.3)


def steps_agree(
    module: torch.nn.Module, session: onnxruntime.InferenceSession, x: np.ndarray, classes: int
) -> None:
    labels = np.random.default_rng(8).integers(0, classes, len(x))
    for given in (None, labels):
        slope = exact_slope(module, x, given)
        # Where the gradient all but vanishes its sign is a matter of rounding, in theirs as in
        # ours. There are next to no such places.
        sure = np.abs(slope) > 1e-5 * np.abs(slope).max(axis=1, keepdims=True)
        assert np.mean(sure) > 0.999
        for eps in SIZES:
            ours = gradient_attacks.fgsm(session, x, eps, 0.0, 1.0, given)
            assert np.abs(ours - their_step(module, x, eps, given))[sure].max() <= 1e-5


def their_step(
    module: torch.nn.Module, x: np.ndarray, eps: float, labels: np.ndarray | None
) -> np.ndarray:
    y = None if labels is None else torch.from_numpy(labels)
    start = torch.from_numpy(x)
    moved = fast_gradient_method(module, start, eps, np.inf, clip_min=0.0, clip_max=1.0, y=y)
    found: np.ndarray = moved.detach().numpy()
    return found


def exact_slope(module: torch.nn.Module, x: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """The gradient of the cross-entropy, in float64."""
    start = torch.from_numpy(x).double().requires_grad_(True)
    logits = copy.deepcopy(module).double()(start)
    y = logits.argmax(1) if labels is None else torch.from_numpy(labels)
    loss = torch.nn.functional.cross_entropy(logits, y, reduction="sum")
    (slope,) = torch.autograd.grad(loss, start)
    found: np.ndarray = slope.numpy()
    return found


def test_steps_of_the_committed_models_agree(demo: DemoModel) -> None:
    steps_agree(demo.module, demo.session, demo.data["x_test"], len(demo.config.labels))


@pytest.mark.slow
def test_steps_of_a_model_trained_afresh_agree(digits: DemoModel) -> None:
    x, y = digits.data["x_fit"], digits.data["y_fit"]
    module = train_models.train(
        x, y, 10, train_models.MlpRecipe(seed=99, hidden=(48, 40), epochs=15)
    )
    session = opened(export_response(module, x.shape[1:]))
    steps_agree(module, session, digits.data["x_test"], 10)


def test_a_certain_answer_is_attacked_along_its_gradient_and_not_its_rounding(
    digits: DemoModel,
) -> None:
    certain = copy.deepcopy(digits.module)
    certain.last.weight *= 3
    certain.last.bias *= 3
    x, eps = digits.data["x_test"], 0.1
    slope = exact_slope(certain, x, None)
    expected = np.clip(x + np.float32(eps) * np.sign(slope), 0, 1)
    sure = np.abs(slope) > 1e-4 * np.abs(slope).max(axis=1, keepdims=True)
    ours = gradient_attacks.fgsm(opened(export_response(certain, x.shape[1:])), x, eps, 0.0, 1.0)
    assert np.abs(ours - expected)[sure].max() <= 1e-5
    # Theirs subtracts one from a probability that float32 cannot tell from it.
    assert np.abs(their_step(certain, x, eps, None) - expected)[sure].max() > eps


def test_the_weights_are_the_serving_graph_s(demo: DemoModel) -> None:
    served = train_models.rebuild(onnx.load_model_from_string(demo.serving)).state_dict()
    assert all(torch.equal(served[name], kept) for name, kept in demo.module.state_dict().items())


@pytest.mark.parametrize("random_start", [False, True])
def test_their_walk_is_detected_about_as_well_as_ours(
    digits: DemoModel, random_start: bool
) -> None:
    x, domain, eps = digits.data["x_test"], digits.config.domain, digits.config.eps
    detector = fit_detector(
        digits.session,
        digits.data["x_fit"],
        digits.data["x_calibration"],
        domain,
        eps,
        np.random.default_rng(0),
    )
    own = digits.session.run(["logits"], gradient_attacks.feeds(x, eps, 0, 1))[0].argmax(axis=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = projected_gradient_descent(
            digits.module,
            torch.from_numpy(x),
            0.2,
            0.2 / gradient_attacks.PGD_SHARE,
            gradient_attacks.PGD_STEPS,
            np.inf,
            clip_min=0.0,
            clip_max=1.0,
            y=torch.from_numpy(own),
            rand_init=random_start,
        )
    ours = gradient_attacks.pgd(
        digits.session,
        x,
        own,
        0.2,
        0.2 / gradient_attacks.PGD_SHARE,
        gradient_attacks.PGD_STEPS,
        0.0,
        1.0,
    )
    caught = []
    for moved in (ours, theirs.detach().numpy()):
        logits, features = digits.session.run(
            ["logits", "features"], gradient_attacks.feeds(moved, eps, 0, 1)
        )
        changed = logits.argmax(axis=1) != own
        assert changed.mean() > 0.8
        caught.append(float(np.mean(detector.scores(features[changed]) > detector.threshold)))
    assert caught[1] == pytest.approx(caught[0], abs=0.1)
