"""Builds a signed version from a trained model.

commit to the watermark -> mark -> quantize -> golden answers -> calibrate -> admit -> sign. The
commitment comes first, so the log shows that the mark is older than the marked weights. The result
is bytes; the caller sends them to a registry.

Format scan: evidence that a version's files hold only plain data and plain operators. Registration
and loading check this again, by the same rules, whatever the report says. The report shows an
approver what passed.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from inference.model.columns import describe_columns
from inference.model.config import CLASSES, ModelConfig
from publishing.evidence import signing
from publishing.evidence.bom import DataFile, ml_bom
from publishing.evidence.measurements import VersionReport
from publishing.evidence.recalibration import with_traffic
from publishing.evidence.signing import BuildRecord, build_provenance
from publishing.pipeline.files import (
    LARGEST_LOSS,
    MarkSettings,
    ProgressListener,
    StepTimer,
    make_files,
)
from publishing.serialization import parse_model
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.watermark.embedding import CAPACITY
from publishing.watermark.key import Mark
from publishing.watermark.reading import THRESHOLD
from publishing.watermark.records import MarkRecord
from registry.formats.format_check import check_file
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.statements import Manifest, oms


def format_scan(files: Mapping[str, bytes]) -> dict[str, Any]:
    """By name, each file's digest, and what a graph is made of.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA (see `registry.formats.format_check`).
    """
    return {"files": {name: _describe(name, data) for name, data in sorted(files.items())}}


def _describe(name: str, data: bytes) -> dict[str, Any]:
    check_file(name, data)
    described: dict[str, Any] = {"digest": sha256(data), "format": name.rpartition(".")[2]}
    if not name.endswith(".onnx"):
        return described
    model = parse_model(data)
    operators = Counter(f"{node.domain or 'ai.onnx'}:{node.op_type}" for node in model.graph.node)
    return described | {
        "external_data": False,
        "initializers": len(model.graph.initializer),
        "operators": dict(sorted(operators.items())),
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
    }


class Commitments(Protocol):
    """The log of watermark commitments: the registry."""

    def commit(self, model: str, commitment: str) -> int:
        """Logs a commitment; returns the index of its log entry."""
        ...


@dataclass(frozen=True, slots=True)
class PublisherKeys:
    """The publisher `maker`, the P-256 key that signs the files, and the key for the evidence."""

    maker: str
    files: Signer
    evidence: Signer


@dataclass(frozen=True, slots=True)
class BuiltVersion:
    """Everything that registration needs, and the figures for the publisher.

    `signature` is the OpenSSF Model Signing bundle over `files`; `mark` is what the publisher
    keeps, None of a model that is too small for one; `entry` is that of the commitment; `seconds`
    are by step.
    """

    model: str
    files: Mapping[str, bytes]
    manifest: Manifest
    signature: bytes
    evidence: tuple[Envelope, ...]
    commitment: str
    entry: int
    mark: MarkRecord | None
    report: VersionReport
    seconds: Mapping[str, float]
    config: ModelConfig

    @property
    def arithmetic(self) -> str:
        """What it answers in."""
        return self.config.arithmetic


def build_version(
    source: SourceFolder,
    data: Dataset,
    mark: Mark,
    *,
    signers: PublisherKeys,
    commitments: Commitments,
    clock: Callable[[], datetime],
    seed: int,
    progress: ProgressListener,
    confinement: Confinement | None = None,
    largest_loss: float = LARGEST_LOSS,
    first_stage: bool = True,
    unmarked: bool = False,
) -> BuiltVersion:
    """Makes a version. The same source, data, mark and seed give the same files.

    1. The source and the data are one model's, and the mark is for it (FORMAT_REFUSED,
       EXTERNAL_DATA, GRAPH_MISMATCH, TENSOR_SHAPE, TENSOR_RANGE, PARAMETER_MALFORMED).
    2. The mark is committed to: its key, its payload, and the file that is not marked yet.
    3. The files are made, and load as a gateway would load them: the model runs in a worker shut in
       by `confinement` (see `publishing.pipeline.files.make_files` for what can refuse them).
       Marking may cost `largest_loss`, a share of the test slice. Without `first_stage` screening
       has one stage. With `unmarked`, a model with too few weights is made without a mark, and the
       evidence says so.
    4. Evidence and files are signed.
    """
    began = clock()
    steps = StepTimer(clock, progress)
    # 1.
    _check(source, data, mark)
    # 2.
    entry = commitments.commit(mark.key.model, mark.commitment)
    steps.done("commit", f"watermark committed to in log entry {entry}")
    # 3.
    bounds = confinement or Confinement()
    wanted = MarkSettings(mark, largest_loss, unmarked)
    files, report = make_files(source, data, wanted, seed, steps, bounds, first_stage)
    manifest = Manifest.of(files)
    report = with_traffic(report, data, files)
    # 4.
    making = BuildRecord(source, data, mark.commitment, seed, signers.maker, began)
    bodies = _bodies(making, entry, files, manifest, report)
    items = signing.sign_evidence(bodies, manifest.digest, signers.maker, signers.evidence, began)
    made = (files, manifest, oms.sign(manifest, signers.files), items)
    steps.done("sign", f"{len(files)} files, {len(items)} items of evidence")
    record = None
    if report.mark is not None:
        record = MarkRecord(mark, report.mark.worded, entry, manifest.digest, report.mark.slots)
    named = mark.commitment, entry, record
    return BuiltVersion(mark.key.model, *made, *named, report, steps.seconds, source.config)


def _check(source: SourceFolder, data: Dataset, mark: Mark) -> None:
    source.check()
    data.check(source.config)
    if (mark.key.model, mark.unmarked) != (source.config.name, sha256(source.serving)):
        raise SealgateError(Reason.PARAMETER_MALFORMED, f"a watermark for another {mark.key.model}")


def _bodies(
    making: BuildRecord,
    entry: int,
    files: Mapping[str, bytes],
    manifest: Manifest,
    report: VersionReport,
) -> dict[str, Any]:
    """The evidence about the version, by kind."""
    origin = making.source.origin
    trained = {} if origin is None else {signing.TRAINING: dict(origin.statement)}
    return trained | {
        signing.BUILD_PROVENANCE: build_provenance(making, manifest),
        signing.ML_BOM: _bill(making, manifest, report),
        signing.FORMAT_SCAN: format_scan(files),
        signing.GOLDEN_RUN: report.measured.golden,
        signing.SCREENING_REPORT: _screening(making, report),
        signing.WATERMARK_CHECK: _watermark_check(report, making.commitment, entry),
    }


def _screening(making: BuildRecord, report: VersionReport) -> dict[str, Any]:
    """The report; of a table, with what its columns hold, and after a recalibration with the number
    of requests that it stands on.
    """
    columns, traffic = describe_columns(making.source.config.columns), making.data.traffic
    told = {"columns": columns} if columns else {}
    more = {} if traffic is None else {"calibrated_on_traffic": len(traffic)}
    return {**report.measured.screening, **told, **more}


def _bill(making: BuildRecord, manifest: Manifest, report: VersionReport) -> dict[str, Any]:
    measured = report.measured.accuracies
    config = making.source.config
    # Where float32 corrects INT8's classes, what leaves is better than INT8 is.
    corrected = config.quantized and config.decision == CLASSES
    served = "INT8 before float32 corrects it"
    accuracies = {
        "fp32 before marking": measured.source,
        "fp32 marked": measured.fp32,
        served if corrected else f"{config.arithmetic.upper()} served": measured.int8,
    }
    data = DataFile(making.data.digest, making.data.size)
    origin = making.source.origin
    facts = {"sealgate:watermark-commitment": making.commitment}
    facts |= {} if origin is None else dict(origin.facts())
    return ml_bom(config, manifest, data, accuracies, making.began, facts)


def _watermark_check(report: VersionReport, commitment: str, entry: int) -> dict[str, Any]:
    committed = {"commitment": commitment, "commitment_entry": entry}
    if report.mark is None:
        statement = f"no watermark: {report.weights} weights can carry one, {CAPACITY} must"
        return {**committed, "carried": False, "weights": report.weights, "statement": statement}
    return {
        **committed,
        "threshold": THRESHOLD,
        "accuracy_lost": report.accuracy_lost,
        "fp32": asdict(report.mark.fp32),
        "int8": asdict(report.mark.int8),
    }
