"""The first stage of screening: its document, what it lets pass, and the joined score."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.screening.calibration import ScoreThreshold
from inference.screening.detector import Detector, Verdict
from inference.screening.first_stage import FEATURES, ClassProjections, RunOutputs
from publishing.calibration.served_rows import LEAST_ROWS, fit_readings
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.two_stages import two_stage_files

MODEL = Perceptron.random()
CUT = -0.5
DETECTOR = two_stage_files(MODEL, CUT)[1]
GRAPH = DETECTOR.width - FEATURES


def rows(margin: float, graph: float = 0.0) -> np.ndarray:
    """Features of one row: its margin at the first stage, and the graph's first feature."""
    found = np.zeros((1, DETECTOR.width), np.float32)
    found[0, 0], found[0, FEATURES] = margin, graph
    return found


def test_two_stages_survive_their_document() -> None:
    after = Detector.decode(DETECTOR.encode())
    assert after == DETECTOR
    assert after.encode() == DETECTOR.encode()
    assert (after.width, after.first_width) == (FEATURES + GRAPH, FEATURES)


def test_a_detector_of_one_stage_says_nothing_of_another() -> None:
    alone = replace(DETECTOR, first=None)
    assert "first" not in json.loads(alone.encode())
    assert alone.width == GRAPH
    assert alone.escalates(np.zeros((3, GRAPH))).all()


def test_what_the_first_stage_lets_pass_scores_below_whatever_goes_on() -> None:
    passed, at_cut, beyond = (float(DETECTOR.scores(rows(m))[0]) for m in (2.0, 0.5, 0.499))
    assert passed == pytest.approx(-1.5)
    assert passed < at_cut <= 0 < beyond
    assert DETECTOR.escalates(rows(0.5)).tolist() == [False]
    assert DETECTOR.escalates(rows(0.499)).tolist() == [True]


def test_the_graph_orders_what_goes_on_and_is_not_read_elsewhere() -> None:
    low, high = (DETECTOR.scores(rows(0.1, graph))[0] for graph in (5.0, -5.0))
    alone = replace(DETECTOR, first=None)
    assert low < high
    assert high == pytest.approx(np.logaddexp(0, alone.scores(rows(0.1, -5.0)[:, FEATURES:])[0]))
    unread = rows(2.0)
    unread[0, FEATURES:] = np.nan
    assert DETECTOR.scores(unread) == DETECTOR.scores(rows(2.0))


@pytest.mark.parametrize("place", [0, FEATURES])
def test_what_cannot_be_measured_is_adversarial(place: int) -> None:
    """A first stage that fails lets nothing pass, and the graph's failure is no acquittal."""
    bad = rows(0.1)
    bad[0, place] = np.nan
    assert DETECTOR.escalates(bad).all()
    if place:
        assert DETECTOR.verdict(float(DETECTOR.scores(bad)[0])) is Verdict.ADVERSARIAL


def test_scores_of_another_width_are_an_error_of_the_program() -> None:
    with pytest.raises(ValueError, match="features must be"):
        DETECTOR.scores(np.zeros((2, GRAPH)))


def document() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(DETECTOR.encode())
    return value


def changed(path: str, value: Any) -> dict[str, Any]:
    found = document()
    *parents, last = path.split("/")
    place = found
    for name in parents:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("first", {}),
        ("first", False),
        ("first/odd", 1),
        ("first/readings", None),
        ("first/scaling", None),
        ("first/trained", None),
        ("first/cut", None),
        ("first/cut", "none"),
        ("first/least_margin", -0.1),
        ("first/least_margin", "none"),
        ("first/cut", True),
        ("first/scaling/center", [0.0]),
        ("first/readings/inputs", None),
        ("first/readings/odd", 1),
        ("first/readings/vectors/odd", 1),
        ("first/readings/vectors/mean", None),
        ("first/readings/vectors/mean", []),
        ("first/readings/vectors/basis", [0.0]),
        ("first/readings/vectors/center", [0.0]),
        ("first/readings/vectors/whitening", [0.0]),
        ("second", {}),
    ],
)
def test_another_document_is_refused(path: str, value: Any) -> None:
    with pytest.raises(SealgateError) as refused:
        Detector.decode(canonical.encode(changed(path, value)))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_stage_that_scores_other_features_is_refused() -> None:
    """Well-formed in itself, but of one feature less."""
    found = document()
    first, width = found["first"], FEATURES - 1
    first["scaling"]["center"] = first["scaling"]["spread"] = [1.0] * width
    for name in ("clean", "trained"):
        first[name]["linear"] = [0.0] * width
        first[name]["quadratic"] = [0.0] * (width * (width + 1) // 2)
    with pytest.raises(SealgateError) as refused:
        Detector.decode(canonical.encode(found))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_no_row_is_suspect_by_the_first_stage_alone() -> None:
    below = ScoreThreshold(0.05, 1, -0.25)
    lower = replace(DETECTOR.calibration, suspect=below, scores=(-2.0,) * 480)
    with pytest.raises(SealgateError) as refused:
        replace(DETECTOR, calibration=lower)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
    assert replace(DETECTOR, calibration=lower, first=None).suspect_threshold == -0.25


def clouds() -> RunOutputs:
    """Inputs [300, 12] of three classes that lie apart; vectors and logits are linear in them."""
    draw = np.random.default_rng(4)
    inputs = draw.normal(size=(300, 12)) + 4 * np.eye(3, 12)[np.arange(300) % 3]
    return RunOutputs(*(each.astype(np.float32) for each in (inputs, -inputs, inputs[:, :3])))


def test_a_reading_says_which_class_a_row_lies_in() -> None:
    shown = clouds()
    read = fit_readings(shown)
    assert read is not None
    assert (read.inputs.size, read.vectors.size, read.vectors.classes) == (12, 12, 3)
    assert ClassProjections.read(read.value()) == read
    weight = -np.eye(3, 12, dtype=np.float32)
    found = read.features(shown, weight)
    # Answered as classes that they do not lie in.
    wrong = read.features(shown._replace(logits=shown.logits[:, [1, 2, 0]]), weight)
    assert found.shape == (300, FEATURES)
    for near in (5, 9):
        assert np.mean(found[:, near] < found[:, near + 1]) > 0.95
        assert np.mean(wrong[:, near] > wrong[:, near + 1]) > 0.95


def test_the_first_step_is_the_one_that_turns_the_answer() -> None:
    """FGSM through the last layer: so far along the sign of the margin's gradient, and no less."""
    shown = clouds()
    read = fit_readings(shown)
    assert read is not None
    weight = np.random.default_rng(5).normal(size=(3, 12)).astype(np.float32)
    logits = shown.vectors @ weight.T
    step = read.features(shown._replace(logits=logits), weight)[:, 1]
    order = np.argsort(-logits, axis=1)
    slope = np.sign(weight[order[:, 0]] - weight[order[:, 1]])
    for share, same in ((0.99, True), (1.01, False)):
        moved = (shown.vectors - share * step[:, np.newaxis] * slope) @ weight.T
        ahead = moved[np.arange(300), order[:, 0]] > moved[np.arange(300), order[:, 1]]
        assert np.mean(ahead == same) == 1


def test_a_class_of_few_rows_has_no_reading() -> None:
    shown = clouds()
    own = shown.logits.argmax(axis=1)
    few = np.concatenate([np.flatnonzero(own != 2), np.flatnonzero(own == 2)[: LEAST_ROWS - 1]])
    assert fit_readings(RunOutputs(*(each[few] for each in shown))) is None


def test_readings_of_other_classes_are_refused() -> None:
    found = fit_readings(clouds())
    assert found is not None
    two = replace(
        found.inputs, center=found.inputs.center[:24], whitening=found.inputs.whitening[: 12 * 24]
    )
    with pytest.raises(SealgateError) as refused:
        replace(found, inputs=two)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
