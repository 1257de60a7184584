"""Builds a signed version from a trained model, and keeps it until it is registered.

commit to the watermark -> mark -> quantize -> golden answers -> calibrate -> admit -> sign. The
commitment comes first, so the log shows that the mark is older than the marked weights. The result
is bytes; the caller sends them to a registry.

Format scan: evidence that a version's files hold only plain data and plain operators. Registration
and loading check this again, by the same rules, whatever the report says.

A version is built once, because its watermark key is random. If publishing the same source and data
is interrupted, the next attempt continues with the version in the outbox.
"""

import base64
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from inference.model.columns import describe_columns
from inference.model.config import ModelConfig
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
from publishing.ready.external_data import weight_files
from publishing.ready.mlflow import files_of
from publishing.ready.reading import is_ready
from publishing.serialization import parse_model
from publishing.source.dataset import Dataset
from publishing.source.folder import NAMES, ORIGIN, SourceFolder, read_plain_file
from publishing.watermark import MARK_CAPACITY, MARK_THRESHOLD, Mark, MarkRecord
from registry.formats.format_check import check_file
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.uploads import Package
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer, write_private_file
from sealgate.trust.receipts.answer_entry import FLOAT32
from sealgate.trust.statements import Manifest, oms

_TYPE = "sealgate/outbox/v1"
_DOCUMENT = "version.json"
_FIELDS = ("model", "manifest", "signature", "evidence", "commitment", "summary")


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
        """The arithmetic of its answers."""
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
    corrected = report.measured.screening.get("disagreement") == FLOAT32
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
        statement = f"no watermark: {report.weights} weights can carry one, {MARK_CAPACITY} must"
        return {**committed, "carried": False, "weights": report.weights, "statement": statement}
    return {
        **committed,
        "threshold": MARK_THRESHOLD,
        "accuracy_lost": report.accuracy_lost,
        "fp32": asdict(report.mark.fp32),
        "int8": asdict(report.mark.int8),
    }


@dataclass(frozen=True, slots=True)
class PendingVersion:
    """A version to register, and the figures for its publisher."""

    package: Package
    summary: Mapping[str, Any]


class Outbox:
    """The versions made from one source, a folder or a file with its data: at most one of each
    waits that was asked for in these `options`.
    """

    def __init__(self, folder: Path, source: Path, data: Dataset, options: str) -> None:
        if source.is_file():
            paths = [source, *weight_files(source)]
        else:
            kept = [source / name for name in NAMES]
            paths = [path for path in (*kept, source / ORIGIN) if path.exists()]
            paths += files_of(source) if is_ready(source) else []
        parts = [sha256(read_plain_file(path)) for path in paths]
        if data.traffic is not None:
            parts.append(sha256(data.traffic.tobytes()))
        name = sha256("\n".join([*parts, data.digest, options]).encode())
        self.folder = folder / name.removeprefix("sha256:")[:16]

    def keep(self, built: BuiltVersion, summary: Mapping[str, Any]) -> PendingVersion:
        """Write down all that registering takes; it is there wholly or not at all."""
        document = {
            "type": _TYPE,
            "model": built.model,
            "manifest": built.manifest.encode().decode(),
            "signature": _text(built.signature),
            "evidence": [_text(envelope.encode()) for envelope in built.evidence],
            "commitment": built.commitment,
            "summary": dict(summary),
        }
        made = self.folder.with_suffix(".new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700, parents=True)
        for path, data in built.files.items():
            write_private_file(made / path, data)
        (made / "about").mkdir(mode=0o700)
        write_private_file(made / "about" / _DOCUMENT, canonical.encode(document))
        made.rename(self.folder)
        return self.read()

    def is_empty(self) -> bool:
        return not self.folder.exists()

    def read(self) -> PendingVersion:
        """The version that waits for its registration. Raises SealgateError(DOCUMENT_MALFORMED)."""
        data = (self.folder / "about" / _DOCUMENT).read_bytes()
        document = fields.record(canonical.decode(data), _FIELDS, _TYPE)
        manifest = Manifest.decode(document["manifest"].encode())
        package = Package(
            model=document["model"],
            manifest=manifest,
            signature=_bytes(document["signature"]),
            evidence=[_bytes(item) for item in document["evidence"]],
            commitment=document["commitment"],
            files={entry.path: self.folder / entry.path for entry in manifest.files},
        )
        return PendingVersion(package, document["summary"])

    def empty(self) -> None:
        """Remove what waits."""
        shutil.rmtree(self.folder)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "not base64") from error
