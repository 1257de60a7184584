"""Signs evidence about a version, and reads the signed evidence of a registered version.

Build provenance: an in-toto statement (SLSA provenance v1) of how a version was published. It names
the graphs and data, and the settings and programs with which the files were made. The graphs are
named by their digests before marking, and the watermark key by its commitment only. Training has a
statement of its own (`publishing.source.folder`).
"""

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import onnx
import onnxruntime

from publishing.source.dataset import Dataset
from publishing.source.folder import CONFIG, RESPONSE, SERVING, SLSA, TOKENIZER, SourceFolder
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import SignedVersion
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy
from sealgate.trust.statements import Evidence, Manifest, open_statement
from sealgate.trust.statements.oms import STATEMENT
from sealgate.trust.statements.types import EVIDENCE
from sealgate.trust.times import format_time
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

BUILD_TYPE = "urn:sealgate:publish:v1"
_BUILDER = "urn:sealgate:publisher"


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """The inputs of a version's build by the publisher `maker`, from `began` on; `commitment` is
    that to the watermark key.
    """

    source: SourceFolder
    data: Dataset
    commitment: str
    seed: int
    maker: str
    began: datetime


def build_provenance(making: BuildRecord, manifest: Manifest) -> dict[str, Any]:
    """The statement about the files of `manifest`."""
    settings = {"seed": making.seed, "watermarkCommitment": making.commitment}
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": entry.path, "digest": _digest(entry.digest)} for entry in manifest.files
        ],
        "predicateType": SLSA,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": settings,
                "resolvedDependencies": [*materials(making.source, making.data), *_programs()],
            },
            "runDetails": {
                "builder": {"id": f"{_BUILDER}:{making.maker}"},
                "metadata": {"startedOn": format_time(making.began)},
            },
        },
    }


def materials(source: SourceFolder, data: Dataset) -> Iterator[dict[str, Any]]:
    """The materials of a version: the source's files, the data, and after a recalibration the
    features that it stands on and the detector that they were measured for.
    """
    files = {CONFIG: source.config.encode(), SERVING: source.serving}
    if source.response:
        files[RESPONSE] = source.response
    if source.tokenizer is not None:
        files[TOKENIZER] = source.tokenizer
    if data.traffic is not None:
        files["traffic"] = np.ascontiguousarray(data.traffic, "<f4").tobytes()
    if data.earlier is not None:
        files["earlier detector.json"] = data.earlier.encode()
    for name, content in files.items():
        yield {"name": name, "digest": _digest(canonical.sha256(content))}
    yield {"name": "data", "digest": _digest(data.digest)}


def _programs() -> Iterator[dict[str, Any]]:
    """The packages that influence the bytes: another release of one may write other bytes."""
    releases = {
        "numpy": np.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "sealgate": importlib.metadata.version("sealgate"),
    }
    for name, release in releases.items():
        yield {"name": name, "uri": f"pkg:pypi/{name}@{release}"}


def _digest(text: str) -> dict[str, str]:
    return {"sha256": canonical.raw(text).hex()}


BUILD_PROVENANCE = "build-provenance"
ML_BOM = "mlbom"
FORMAT_SCAN = "format-scan"
GOLDEN_RUN = "golden-run"
SCREENING_REPORT = "screening-report"
TRAINING = "training-provenance"
WATERMARK_CHECK = "watermark-check"


def sign_evidence(
    bodies: Mapping[str, Any], version_digest: str, maker: str, signer: Signer, now: datetime
) -> tuple[dsse.Envelope, ...]:
    """One envelope for each kind in `bodies`, sorted by kind, bound to the version's digest.

    `maker` is the principal whose key `signer` holds.
    """
    created = format_time(now)
    items = [
        Evidence(kind, version_digest, maker, created, body)
        for kind, body in sorted(bodies.items())
    ]
    return tuple(dsse.sign(EVIDENCE, item.encode(), signer) for item in items)


def read_evidence(
    registry: RegistryServiceStub, signed: SignedVersion, policies: Sequence[Policy], kind: str
) -> Evidence:
    """The version's evidence of that kind. Raises EVIDENCE_MISSING, and as `open_statement`."""
    sent = registry.GetVersion(messages.GetVersionRequest(name=signed.name)).version
    for data in sent.evidence:
        envelope = Envelope.decode(data)
        said = Evidence.decode(envelope.payload)
        if said.kind != kind:
            continue
        # As it was when they signed: by the newest policy that knows them.
        policy = next((p for p in reversed(policies) if p.keys_of(said.maker)), policies[-1])
        item = open_statement(envelope, Evidence, policy, ("publisher", "evidence"))
        if item.version_digest == signed.manifest.digest:
            return item
    raise SealgateError(Reason.EVIDENCE_MISSING, f"no {kind} of {signed.name}")


def check_made_from(
    registry: RegistryServiceStub,
    signed: SignedVersion,
    policies: Sequence[Policy],
    source: SourceFolder,
    data: Dataset,
) -> None:
    """Raises EVIDENCE_MISMATCH unless the version was made from exactly these files and these data,
    by its signed provenance; and as `signed_evidence`.
    """
    built = read_evidence(registry, signed, policies, BUILD_PROVENANCE).body
    listed = built["predicate"]["buildDefinition"]["resolvedDependencies"]
    made_from = {item["name"]: item["digest"] for item in listed if "digest" in item}
    for item in materials(source, data):
        if made_from.get(item["name"]) != item["digest"]:
            detail = f"{signed.name} was made from another {item['name']}"
            raise SealgateError(Reason.EVIDENCE_MISMATCH, detail)
