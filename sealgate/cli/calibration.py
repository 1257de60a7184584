"""What a version's screening was calibrated on, and what that promises: out of its signed files."""

from collections.abc import Sequence
from typing import Any

from sealgate.reasons import Reason, Refusal
from sealgate.signed_version import DETECTOR, SignedVersion
from sealgate.trust import canonical, fields
from sealgate.trust.policy import Policy
from sealgate.v1.registry_pb2 import Version
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub


def screening_facts(
    version: Version, policies: Sequence[Policy], registry: RegistryServiceStub
) -> dict[str, Any]:
    """Whether the bound on false alarms holds; of how many clean rows it is, with which confidence,
    and which share of such rows is found adversarial, or at least suspect, at most.

    A version without a detector has no such numbers. Raises Refusal: as `SignedVersion.of` and
    `file` do, DIGEST_MISMATCH for another manifest, DOCUMENT_MALFORMED.
    """
    withdrawn = version.screening_withdrawn
    facts: dict[str, Any] = {"screening_bound": f"withdrawn {withdrawn}" if withdrawn else "holds"}
    signed = SignedVersion.of(
        version.name, version.manifest, version.signature, version.publisher, policies
    )
    if signed.manifest.digest != version.digest:
        raise Refusal(Reason.DIGEST_MISMATCH, f"the manifest of {version.name}")
    if DETECTOR in {file.path for file in signed.manifest.files}:
        detector = fields.mapping(canonical.decode(signed.file(registry, DETECTOR)))
        facts |= _told(fields.mapping(detector.get("calibration")))
    return facts


def _told(calibration: dict[str, Any]) -> dict[str, Any]:
    limits = {
        f"{verdict}_bound": fields.mapping(calibration.get(verdict)).get("bound")
        for verdict in ("adversarial", "suspect")
    }
    rows = len(fields.items(calibration.get("scores")))
    return {"calibrated_on": rows, "confidence": calibration.get("confidence"), **limits}
