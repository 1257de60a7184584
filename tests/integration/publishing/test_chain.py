"""The whole chain on the demo's models: what comes out verifies, repeats, and carries its mark.

The demo publishes all three in CI, and checks their marks and accuracies; here the smallest is
enough, and the others are slow.
"""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from inference.engine import version_contents
from publishing.evidence import signing
from publishing.pipeline.build import BuiltVersion, PublisherKeys, build_version
from publishing.pipeline.files import LARGEST_LOSS
from publishing.serialization import parse_model
from publishing.source.dataset import Dataset, DataSlice
from publishing.source.folder import SourceFolder
from publishing.watermark.carrier_weights import read_carriers
from publishing.watermark.detection import MarkDetection, detect
from publishing.watermark.key import Mark, WatermarkCode, WatermarkKey
from sealgate.reasons import Reason, SealgateError
from sealgate.setup.installation import Installation, Ports
from sealgate.trust import dsse
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import ECDSA_P256, PrivateKey
from sealgate.trust.policy import Policy
from sealgate.trust.statements import Evidence, oms
from sealgate.trust.statements.types import EVIDENCE

DEMO = Path(__file__).parents[3] / "demo"
NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
FILES_KEY = PrivateKey.generate(ECDSA_P256)
EVIDENCE_KEY = PrivateKey.generate()
SIGNERS = PublisherKeys("publisher", FILES_KEY, EVIDENCE_KEY)
SMALLEST = "breast-cancer"
MODELS = (
    SMALLEST,
    pytest.param("digits-standard", marks=pytest.mark.slow),
    pytest.param("digits-hardened", marks=pytest.mark.slow),
)


class Journal:
    """Commitments and progress, in the order in which they came."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def commit(self, model: str, commitment: str) -> int:
        self.lines.append(f"commit {model} {commitment}")
        return 7

    def progress(self, step: str, detail: str) -> None:
        self.lines.append(step)


def source(folder: str) -> SourceFolder:
    return SourceFolder.read(DEMO / "models" / folder)


def dataset(folder: str) -> Dataset:
    return Dataset.read(DEMO / "data" / f"{source(folder).config.name}.safetensors")


def mark(folder: str, secret: bytes = bytes(range(32))) -> Mark:
    key = WatermarkKey(source(folder).config.name, secret)
    return Mark(key, b"\1\2\3\4", sha256(source(folder).serving))


def code(folder: str, secret: bytes = bytes(range(32))) -> WatermarkCode:
    return mark(folder, secret).code(worded=False)


def build(
    origin: SourceFolder,
    data: Dataset,
    watermark: Mark,
    journal: Journal | None = None,
    seed: int = 1,
    largest_loss: float = LARGEST_LOSS,
) -> BuiltVersion:
    journal = journal or Journal()
    return build_version(
        origin,
        data,
        watermark,
        signers=SIGNERS,
        commitments=journal,
        clock=lambda: NOW,
        seed=seed,
        progress=journal.progress,
        largest_loss=largest_loss,
    )


def read(model: bytes, watermark: WatermarkCode) -> MarkDetection:
    return detect([c.values for c in read_carriers(parse_model(model))], watermark)


@cache
def built(folder: str) -> BuiltVersion:
    return build(source(folder), dataset(folder), mark(folder))


@pytest.mark.parametrize("folder", MODELS)
def test_the_mark_reads_from_each_file_alone(folder: str) -> None:
    made = built(folder)
    for name in (version_contents.FP32, version_contents.INT8, version_contents.RESPONSE):
        detection = read(made.files[name], code(folder))
        assert detection.found, name
        assert detection.z > 15.5
        wrong = max(
            read(made.files[name], code(folder, n.to_bytes(32, "big"))).z for n in range(100)
        )
        assert wrong < 6
    assert abs(read(source(folder).serving, code(folder)).z) < 6
    assert made.report.mark.int8.z == pytest.approx(
        read(made.files[version_contents.INT8], code(folder)).z, abs=0.2
    )


@pytest.mark.parametrize("folder", MODELS)
def test_marking_and_quantizing_cost_little_accuracy(folder: str) -> None:
    shares = built(folder).report.measured.accuracies
    assert shares.source > 0.95
    assert shares.fp32 > shares.source - 0.02
    assert shares.int8 > shares.source - 0.02


@pytest.mark.parametrize("folder", MODELS)
def test_the_signature_is_over_exactly_these_files(folder: str) -> None:
    made = built(folder)
    assert set(made.files) == version_contents.FILES
    made.manifest.check(made.files)
    assert oms.verify(made.signature, made.manifest, [FILES_KEY.public]) == FILES_KEY.public
    with pytest.raises(SealgateError) as refused:
        oms.verify(made.signature, made.manifest, [PrivateKey.generate(ECDSA_P256).public])
    assert refused.value.reason is Reason.SIGNER_MISMATCH


def test_the_evidence_is_signed_and_bound_to_the_version() -> None:
    made = built(SMALLEST)
    items = {}
    for envelope in made.evidence:
        dsse.verify(envelope, EVIDENCE, {EVIDENCE_KEY.public.keyid: EVIDENCE_KEY.public})
        item = Evidence.decode(envelope.payload)
        assert (item.version_digest, item.maker) == (made.manifest.digest, "publisher")
        items[item.kind] = item.body
    assert set(items) == {
        signing.BUILD_PROVENANCE,
        signing.FORMAT_SCAN,
        signing.GOLDEN_RUN,
        signing.ML_BOM,
        signing.SCREENING_REPORT,
        signing.WATERMARK_CHECK,
    }
    # How far a table's columns may move, nobody has said.
    assert "certified" not in items[signing.SCREENING_REPORT]
    assert items[signing.WATERMARK_CHECK]["commitment"] == made.mark.mark.commitment
    assert items[signing.WATERMARK_CHECK]["commitment_entry"] == 7
    assert items[signing.WATERMARK_CHECK]["int8"]["z"] >= 12
    assert abs(items[signing.WATERMARK_CHECK]["accuracy_lost"]) <= LARGEST_LOSS
    told = items[signing.ML_BOM]["metadata"]["component"]["modelCard"]["properties"]
    assert {"name": "sealgate:watermark-commitment", "value": made.mark.mark.commitment} in told
    assert set(items[signing.FORMAT_SCAN]["files"]) == set(made.files)
    assert items[signing.ML_BOM]["metadata"]["component"]["name"] == SMALLEST


def test_a_first_policy_asks_for_the_evidence_that_is_made(tmp_path: Path) -> None:
    ports = Ports(1, 2)
    Installation(tmp_path / "state", "house", datetime.now(UTC), ports, passphrase=None).make()
    envelope = Envelope.decode((tmp_path / "state" / "trust" / "policy.json").read_bytes())
    rules = Policy.decode(envelope.payload).evidence
    made = {Evidence.decode(item.payload).kind for item in built(SMALLEST).evidence}
    assert rules is not None
    assert set(rules.makers) == made


def test_no_secret_leaves_in_files_or_evidence() -> None:
    made = built(SMALLEST)
    secret = mark(SMALLEST).key.secret
    for data in (*made.files.values(), *(each.payload for each in made.evidence)):
        assert secret not in data
        assert secret.hex().encode() not in data


def test_the_commitment_comes_before_anything_is_made() -> None:
    journal = Journal()
    build(source("breast-cancer"), dataset("breast-cancer"), mark("breast-cancer"), journal)
    commitment = mark("breast-cancer").commitment
    assert journal.lines == [
        f"commit breast-cancer {commitment}",
        *("commit", "mark", "quantize", "golden", "calibrate", "admit", "sign"),
    ]


@pytest.mark.slow
def test_the_same_key_and_seed_give_the_same_files() -> None:
    name = "breast-cancer"
    first, given = built(name), (source(name), dataset(name))
    again = build(*given, mark(name))
    assert again.files == first.files
    assert again.evidence == first.evidence
    other_seed = build(*given, mark(name), seed=2)
    assert other_seed.files[version_contents.INT8] == first.files[version_contents.INT8]
    assert other_seed.files[version_contents.GOLDEN] != first.files[version_contents.GOLDEN]
    other_key = build(*given, mark(name, bytes(32)))
    assert other_key.files[version_contents.FP32] != first.files[version_contents.FP32]


def test_a_response_graph_of_another_model_is_refused() -> None:
    mixed = replace(source("digits-standard"), response=source("digits-hardened").response)
    _refused(Reason.GRAPH_MISMATCH, mixed, dataset("digits-standard"), mark("digits-standard"))


def test_a_response_graph_with_another_forward_is_refused() -> None:
    origin = source("digits-standard")
    model = parse_model(origin.response)
    # Biases are no part of the weights that are compared by name: only running it tells.
    biases = {t.name for t in parse_model(origin.serving).graph.initializer if len(t.dims) == 1}
    bias = next(t for t in model.graph.initializer if t.name in biases)
    values = np.frombuffer(bias.raw_data, np.float32) + np.float32(0.01)
    bias.raw_data = values.tobytes()
    altered = replace(origin, response=model.SerializeToString())
    _refused(Reason.GRAPH_MISMATCH, altered, dataset("digits-standard"), mark("digits-standard"))


def test_data_of_another_model_is_refused() -> None:
    _refused(
        Reason.TENSOR_SHAPE,
        source("digits-standard"),
        dataset("breast-cancer"),
        mark("digits-standard"),
    )


def test_data_outside_the_domain_is_refused() -> None:
    data = dataset("digits-standard")
    wide = replace(data, test=DataSlice(data.test.x * np.float32(2), data.test.y))
    _refused(Reason.TENSOR_RANGE, source("digits-standard"), wide, mark("digits-standard"))


def test_a_mark_that_costs_too_much_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        build(
            source(SMALLEST),
            dataset(SMALLEST),
            mark(SMALLEST),
            # No mark gains half of all answers.
            largest_loss=-0.5,
        )
    assert refused.value.reason is Reason.WATERMARK_COST


def test_a_mark_committed_to_for_other_weights_is_refused() -> None:
    _refused(
        Reason.PARAMETER_MALFORMED,
        source("digits-standard"),
        dataset("digits-standard"),
        mark("digits-hardened"),
    )


def test_a_watermark_key_of_another_model_is_refused() -> None:
    _refused(
        Reason.PARAMETER_MALFORMED,
        source("digits-standard"),
        dataset("digits-standard"),
        mark("breast-cancer"),
    )


def test_too_small_a_calibration_slice_is_refused() -> None:
    data = dataset("breast-cancer")
    few = replace(data, calibration=DataSlice(data.calibration.x[:20], data.calibration.y[:20]))
    journal = Journal()
    _refused(
        Reason.CALIBRATION_TOO_SMALL,
        source("breast-cancer"),
        few,
        mark("breast-cancer"),
        journal,
    )
    assert journal.lines[-1] == "golden"


def test_the_files_are_named_by_their_digests() -> None:
    made = built(SMALLEST)
    assert {entry.path: entry.digest for entry in made.manifest.files} == {
        name: sha256(data) for name, data in made.files.items()
    }


def _refused(
    reason: Reason,
    origin: SourceFolder,
    data: Dataset,
    watermark: Mark,
    journal: Journal | None = None,
) -> None:
    with pytest.raises(SealgateError) as refused:
        build(origin, data, watermark, journal)
    assert refused.value.reason is reason
