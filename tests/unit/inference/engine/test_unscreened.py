"""A version without screening: its files say so together, and nothing flags its rows."""

import numpy as np
import pytest

from inference.engine import version_contents as contents
from inference.engine.ready_version import ReadyVersion
from inference.engine.version_verifier import read_files
from inference.runtime.settings import CpuSettings
from inference.screening.detector import UNSCREENED, Detector, Verdict
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Manifest
from tests.support.builders.documents.people import refused
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows

MODEL = Perceptron.random(seed=11)
SCREENED = VersionFiles.of(MODEL).encode()
PLAIN = SCREENED | {contents.DETECTOR: UNSCREENED.encode()}
del PLAIN[contents.RESPONSE]


class Stored:
    def __init__(self, files: dict[str, bytes]) -> None:
        self.by_digest = {sha256(data): data for data in files.values()}

    def read(self, digest: str) -> bytes:
        return self.by_digest[digest]


def test_it_answers_as_the_screened_one_and_finds_every_row_clean() -> None:
    assert Detector.decode(UNSCREENED.encode()) == UNSCREENED
    assert not UNSCREENED.screens
    rows = clean_rows(MODEL, 3)
    version = ReadyVersion.build("", PLAIN, CpuSettings(1))
    answer = version.submit(rows)
    other = ReadyVersion.build("", SCREENED, CpuSettings(1)).submit(rows)
    (name,) = answer.outputs
    assert np.array_equal(answer.outputs[name], other.outputs[name])
    assert (answer.verdict, answer.features.shape) == (Verdict.CLEAN, (3, 1))


@pytest.mark.parametrize("part", [contents.RESPONSE, contents.DETECTOR])
def test_one_of_both_files_alone_is_refused(part: str) -> None:
    with refused(Reason.GRAPH_MISMATCH):
        ReadyVersion.build("", PLAIN | {part: SCREENED[part]}, CpuSettings(1))


def test_the_manifest_says_which_files_there_are() -> None:
    manifest = Manifest.of(PLAIN)
    assert (manifest.screened, Manifest.of(SCREENED).screened) == (False, True)
    assert read_files(manifest, Stored(PLAIN)).keys() == PLAIN.keys()
    less = {name: data for name, data in PLAIN.items() if name != contents.DETECTOR}
    with refused(Reason.FILE_MISSING):
        read_files(Manifest.of(less), Stored(less))
    # Without a graph that answers it is no version of rows, and nothing is exempt.
    assert Manifest.of({"terms.json": b""}).screened
