"""A worker's trial of a model that nobody has approved yet: its comparisons."""

from dataclasses import replace

import numpy as np
import pytest

from inference.model.golden import Golden
from inference.screening.detector import Detector
from publishing.calibration.served_rows import BORDER
from publishing.evidence.measurements import UNSEEN, TrialMeasurements
from publishing.source.dataset import DataSlice
from publishing.worker_tasks import trial
from publishing.worker_tasks.trial_request import TrialRequest
from sealgate.trust.receipts.answer_entry import FLOAT32
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, apart_rows, clean_rows

MODEL = Perceptron.random(seed=11)
CONFIG = VersionFiles.of(MODEL).config
TEST_ROWS = 200


def rows(n: int, seed: int) -> DataSlice:
    x = clean_rows(MODEL, n, seed)
    return DataSlice(x, MODEL.logits(x).argmax(axis=1))


def request(**changes: object) -> TrialRequest:
    graphs = MODEL.serving(), MODEL.serving(), MODEL.response()
    slices = rows(300, 1), rows(480, 2), rows(TEST_ROWS, 3)
    return replace(TrialRequest(CONFIG, *graphs, *slices, seed=1), **changes)


def ran(asked: TrialRequest) -> tuple[Detector, TrialMeasurements]:
    sent: list[bytes] = []
    trial.run(asked.encode(), sent.append)
    _, _, golden, detector, measured = sent
    read = TrialMeasurements.decode(measured, Golden.decode(golden, CONFIG), TEST_ROWS)
    return Detector.decode(detector), read


def test_a_detector_is_not_fitted_on_rows_that_the_graph_keeps() -> None:
    asked = request(keeps_rows=True)
    kept, rest = asked.fit.halves()
    found = TrialRequest.decode(asked.encode())
    assert np.array_equal(found.unkept, rest.x)
    assert not (found.unkept[:, None] == kept.x[None]).all(axis=2).any()
    assert np.array_equal(request().unkept, asked.fit.x)


@pytest.fixture(scope="module")
def made() -> tuple[Detector, TrialMeasurements]:
    return ran(request())


def test_a_version_compares_its_answers_and_says_so(
    made: tuple[Detector, TrialMeasurements],
) -> None:
    detector, measured = made
    report = measured.screening
    assert detector.disagreement == FLOAT32
    assert report["disagreement"] == FLOAT32
    assert report["clean"]["disagrees"] >= 0
    assert report["attacks"][BORDER] == {"succeeded": 0}
    assert BORDER not in detector.fitted_on


def test_a_recalibration_keeps_what_its_version_compares(
    made: tuple[Detector, TrialMeasurements],
) -> None:
    detector, _ = made
    plain = replace(detector, disagreement=None)
    draw = np.random.default_rng(4)
    for earlier, told in ((detector, True), (plain, False)):
        traffic = draw.normal(size=(500, earlier.width)).astype(np.float32)
        traffic[:, -1] = 0 if told else traffic[:, -1]
        found, measured = ran(request(earlier=earlier, traffic=traffic))
        assert found.width == earlier.width
        assert found.calibration.rows == 500
        assert found.answers_float32 is told
        assert (measured.screening["disagreement"] != UNSEEN) is told
        assert ("disagrees" in measured.screening["clean"]) is told


def test_a_recalibration_keeps_the_margin_of_its_version_and_what_it_answers(
    made: tuple[Detector, TrialMeasurements],
) -> None:
    """Golden rows that rounding turns by more than the margin leave in INT8."""
    x = np.resize(apart_rows(MODEL, 20), (TEST_ROWS, MODEL.inputs))
    turned = DataSlice(x, MODEL.logits(x).argmax(axis=1))
    earlier = replace(made[0], least_margin=1e-6)
    traffic = np.random.default_rng(4).normal(size=(500, earlier.width)).astype(np.float32)
    traffic[:, -1] = 0
    found, measured = ran(request(earlier=earlier, traffic=traffic, test=turned))
    assert found.least_margin == earlier.least_margin
    assert measured.screening["clean"]["disagrees"] == 0
