"""Signs evidence about a version, and reads the signed evidence of a registered version."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from publishing.evidence.build_provenance import materials
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import SignedVersion
from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy
from sealgate.trust.statements import Evidence, open_statement
from sealgate.trust.statements.types import EVIDENCE
from sealgate.trust.times import format_time
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

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
