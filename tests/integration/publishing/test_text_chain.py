"""The publishing chain on a text model: its files, its mark, its INT8 model derived again."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from inference.engine import version_contents
from publishing.attacks.text_probe import ATTACKS, SHIFTS
from publishing.calibration.served_rows import BORDER
from publishing.pipeline.build import BuiltVersion, PublisherKeys, build_version
from publishing.source.dataset import Dataset, DataSlice
from publishing.source.folder import SourceFolder
from publishing.watermark.detection import read_code, weights_of
from publishing.worker_tasks import derivation
from publishing.worker_tasks.derivation import derive
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import ECDSA_P256, PrivateKey
from tests.support.builders.models.text_models import FOLDER, MARK, dataset, source

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
SIGNERS = PublisherKeys("publisher", PrivateKey.generate(ECDSA_P256), PrivateKey.generate())
DIGITS = Path(__file__).parents[3] / "demo" / "models" / "digits-standard"


class Log:
    def commit(self, model: str, commitment: str) -> int:
        return 1


def build(origin: SourceFolder, data: Dataset) -> BuiltVersion:
    return build_version(
        origin,
        data,
        MARK,
        signers=SIGNERS,
        commitments=Log(),
        clock=lambda: NOW,
        seed=1,
        progress=lambda step, detail: None,
    )


@pytest.fixture(scope="module")
def built() -> BuiltVersion:
    return build(source(), dataset())


def test_a_text_model_s_version_has_its_tokenizer_and_is_made_alike_again(
    built: BuiltVersion,
) -> None:
    assert set(built.files) == version_contents.FILES | {version_contents.TOKENIZER}
    assert built.files[version_contents.TOKENIZER] == source().tokenizer
    assert build(source(), dataset()).files == built.files


def test_its_mark_is_in_every_form(built: BuiltVersion) -> None:
    for name in (version_contents.FP32, version_contents.INT8, version_contents.RESPONSE):
        read = read_code(weights_of(name, built.files[name]), built.mark.code, built.mark.slots)
        assert read.found, name


def test_what_was_measured_is_of_exchanged_words(built: BuiltVersion) -> None:
    measured = built.report.measured
    shares = measured.accuracies
    assert shares.source > 0.9
    assert min(shares.fp32, shares.int8) > shares.source - 0.03
    attacks = measured.screening["attacks"]
    assert set(attacks) == {*ATTACKS, BORDER}
    assert set(measured.screening["shifts"]) == set(SHIFTS)
    assert attacks["hotflip-0.4"]["succeeded"] > 0.5
    assert attacks["hotflip-0.4"]["auroc"] > 0.6


@pytest.mark.parametrize("with_data", [True, False])
def test_its_int8_model_follows_from_its_float32_one(built: BuiltVersion, with_data: bool) -> None:
    files = {path: built.files[path] for path in derivation.FILES}
    data = dataset() if with_data else None
    found = derive(files, data, dataset().digest, Confinement())
    assert found.digest == built.manifest.entry(version_contents.INT8).digest


def refusal(origin: SourceFolder, data: Dataset) -> Reason:
    with pytest.raises(SealgateError) as refused:
        build(origin, data)
    return refused.value.reason


def moved(change: np.ndarray) -> Dataset:
    data = dataset()
    return replace(data, test=DataSlice(change, data.test.y))


def test_rows_of_another_form_are_refused() -> None:
    x = dataset().test.x
    assert refusal(source(), moved(x.astype(np.float32))) is Reason.TENSOR_DATATYPE
    assert refusal(source(), moved(x[:, :16].copy())) is Reason.TENSOR_SHAPE
    assert refusal(source(), moved(x + 100)) is Reason.TENSOR_RANGE


def test_a_tokenizer_just_where_texts_come_in(tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    shutil.copytree(FOLDER, folder)
    SourceFolder.read(folder)
    (folder / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(SealgateError) as refused:
        SourceFolder.read(folder)
    assert refused.value.reason is Reason.FORMAT_REFUSED
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SealgateError) as refused:
        SourceFolder.read(folder)
    assert refused.value.reason is Reason.FILE_MISSING
    shutil.copytree(DIGITS, tmp_path / "digits")
    shutil.copy(FOLDER / "tokenizer.json", tmp_path / "digits")
    with pytest.raises(SealgateError) as refused:
        SourceFolder.read(tmp_path / "digits")
    assert refused.value.reason is Reason.FILE_SURPLUS


def test_graphs_of_another_model_are_refused() -> None:
    serving = source().serving
    for other in (replace(source(), response=serving), replace(source(), serving=demo_serving())):
        with pytest.raises(SealgateError) as refused:
            other.check()
        assert refused.value.reason is Reason.GRAPH_MISMATCH


def demo_serving() -> bytes:
    """A graph that takes numbers."""
    return (DIGITS / "serving.onnx").read_bytes()
