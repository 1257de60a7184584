"""`screen recalibrate` takes only the folder and the data of the version, and counts repeated rows
once.
"""

import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from inference.screening.detector import Detector
from inference.screening.traffic import TrafficFolder, without_repeats
from publishing.calibration.detector_fit import recalibrated
from publishing.source.folder import NAMES
from sealgate.reasons import Reason
from sealgate.signed_version import SignedVersion
from tests.support.builders.documents.people import refused
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.two_stages import two_stage_files
from tests.support.builders.models.version_files import VersionFiles
from tests.support.harness.gateway import DATA, MODELS, running

DRAW = np.random.default_rng(4)


def vectors(detector: Detector, count: int) -> np.ndarray:
    center, spread = np.array(detector.scaling.center), np.array(detector.scaling.spread)
    found = np.zeros((count, detector.width), np.float32)
    found[:, : len(center)] = center + spread * DRAW.normal(size=(count, len(center)))
    return found


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("house") / "state", "digits-standard") as harness:
        yield harness


@pytest.fixture(scope="module")
def features(harness, tmp_path_factory):
    """Traffic of version 1, enough of it."""
    registry = harness.registry("auditor")
    policies = [harness.governance("auditor").policy()]
    signed = SignedVersion.fetch(registry, policies, "digits", 1)
    detector = Detector.decode(signed.file(registry, "detector.json"))
    folder = tmp_path_factory.mktemp("features")
    kept = TrafficFolder(folder, 30, 1000)
    kept.add(signed.manifest.digest, vectors(detector, 400), datetime.now(UTC).date())
    return folder


def asked(harness, features, folder, data):
    words = ["screen", "recalibrate", str(folder), "--data", str(data)]
    words += ["--features", str(features), "--model", "digits", "--from-version", "1"]
    result = harness.command(*words)
    assert result.exit_code != 0
    return result.output


def test_another_models_folder_is_refused(harness, features):
    output = asked(harness, features, MODELS / "digits-hardened", DATA / "digits.safetensors")
    assert "EVIDENCE_MISMATCH" in output


def test_other_weights_of_the_same_description_are_refused(harness, features, tmp_path):
    for name, folder in zip(
        NAMES, ("digits-standard", "digits-hardened", "digits-hardened"), strict=True
    ):
        shutil.copy(MODELS / folder / name, tmp_path)
    output = asked(harness, features, tmp_path, DATA / "digits.safetensors")
    assert "EVIDENCE_MISMATCH" in output
    assert "another serving.onnx" in output


def test_other_data_are_refused(harness, features, tmp_path):
    rows = load_file(DATA / "digits.safetensors")
    rows["x_fit"][0] = 0.0
    save_file(rows, tmp_path / "other.safetensors")
    output = asked(harness, features, MODELS / "digits-standard", tmp_path / "other.safetensors")
    assert "EVIDENCE_MISMATCH" in output
    assert "another data" in output


def test_repeated_rows_back_no_bound() -> None:
    detector = VersionFiles.of(Perceptron.random()).detector
    few = vectors(detector, 58)
    # As another batch measures them.
    again = np.tile(few, (10, 1)) * (1 + 1e-7 * DRAW.normal(size=(580, 1))).astype(np.float32)
    assert recalibrated(detector, again).calibration.rows == 580
    assert np.array_equal(without_repeats(detector, again), again[:58])
    with refused(Reason.CALIBRATION_TOO_SMALL):
        recalibrated(detector, without_repeats(detector, again))


def test_rows_of_the_first_stage_are_told_apart_by_its_features() -> None:
    detector = two_stage_files(Perceptron.random(), -0.5)[1]
    passed = np.full((3, detector.width), np.nan, np.float32)
    passed[:, : detector.first_width] = [[0.1], [0.2], [0.1]]
    assert np.array_equal(without_repeats(detector, passed), passed[:2], equal_nan=True)
