"""From a trained model to a signed version.

commit the watermark key -> mark -> quantize -> golden answers -> calibrate -> admit -> sign. The
commitment comes first, so that the log shows the key to be older than the marked weights. What
comes out is bytes; sending them to a registry is the caller's part.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from publishing import evidence
from publishing.bom import DataFile, ml_bom
from publishing.data import Dataset
from publishing.format_scan import format_scan
from publishing.making import Confinement, Progress, Steps, make_files
from publishing.report import Report
from publishing.source import SourceFolder
from publishing.watermark.detection import THRESHOLD
from publishing.watermark.key import WatermarkKey
from sealgate.reasons import Reason, Refusal
from sealgate.trust import oms
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.manifest import Manifest


class Commitments(Protocol):
    """Where watermark commitments are logged: the registry."""

    def commit(self, model: str, commitment: str) -> int:
        """Logs a commitment; returns the index of its log entry."""
        ...


@dataclass(frozen=True, slots=True)
class Signers:
    """The publisher `maker`, the P-256 key that signs the files, and the key for the evidence."""

    maker: str
    files: Signer
    evidence: Signer


@dataclass(frozen=True, slots=True)
class BuiltVersion:
    """All that registration needs, and what the publisher wants to know.

    `signature` is the OpenSSF Model Signing bundle over `files`; `commitment_entry` is where the
    registry's log holds `commitment`; `seconds` are by step.
    """

    model: str
    files: Mapping[str, bytes]
    manifest: Manifest
    signature: bytes
    evidence: tuple[Envelope, ...]
    commitment: str
    commitment_entry: int
    report: Report
    seconds: Mapping[str, float]


def build_version(
    source: SourceFolder,
    data: Dataset,
    key: WatermarkKey,
    *,
    signers: Signers,
    commitments: Commitments,
    clock: Callable[[], datetime],
    seed: int,
    progress: Progress,
    confinement: Confinement | None = None,
) -> BuiltVersion:
    """Makes a version. The same source, data, key and seed give the same files.

    1. The source and the data are one model's, and the key is for it (FORMAT_REFUSED,
       EXTERNAL_DATA, GRAPH_MISMATCH, TENSOR_SHAPE, TENSOR_RANGE, PARAMETER_MALFORMED).
    2. The watermark key is committed to.
    3. The files are made, and load as a gateway would load them: the model runs in a worker shut in
       by `confinement` (see `publishing.making.make_files` for what can refuse them).
    4. Evidence and files are signed.
    """
    now = clock()
    steps = Steps(clock, progress)
    # 1.
    source.check()
    data.check(source.config)
    if key.model != source.config.name:
        raise Refusal(Reason.PARAMETER_MALFORMED, f"the watermark key is for {key.model}")
    # 2.
    entry = commitments.commit(key.model, key.commitment)
    steps.done("commit", f"watermark key committed to in log entry {entry}")
    # 3.
    files, report = make_files(source, data, key, seed, steps, confinement or Confinement())
    manifest = Manifest.of(files)
    # 4.
    bodies = {
        evidence.ML_BOM: _bill(source, data, manifest, report, now),
        evidence.FORMAT_SCAN: format_scan(files),
        evidence.GOLDEN_RUN: report.measured.golden,
        evidence.SCREENING_REPORT: report.measured.screening,
        evidence.WATERMARK_CHECK: _watermark_check(report, key.commitment, entry),
    }
    items = evidence.sign_evidence(bodies, manifest.digest, signers.maker, signers.evidence, now)
    signature = oms.sign(manifest, signers.files)
    steps.done("sign", f"{len(files)} files, {len(items)} items of evidence")
    return BuiltVersion(
        model=key.model,
        files=files,
        manifest=manifest,
        signature=signature,
        evidence=items,
        commitment=key.commitment,
        commitment_entry=entry,
        report=report,
        seconds=steps.seconds,
    )


def _bill(
    source: SourceFolder, data: Dataset, manifest: Manifest, report: Report, now: datetime
) -> dict[str, Any]:
    measured = report.measured.accuracies
    accuracies = {
        "fp32 before marking": measured.source,
        "fp32 marked": measured.fp32,
        "INT8 served": measured.int8,
    }
    return ml_bom(source.config, manifest, DataFile(data.digest, data.size), accuracies, now)


def _watermark_check(report: Report, commitment: str, entry: int) -> dict[str, Any]:
    return {
        "commitment": commitment,
        "commitment_entry": entry,
        "threshold": THRESHOLD,
        "fp32": asdict(report.watermark_fp32),
        "int8": asdict(report.watermark_int8),
    }
