"""Evidence: signed statements of what was found about a version, on which approvers promote it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sealgate.trust import dsse
from sealgate.trust.keys import Signer
from sealgate.trust.statements import Evidence
from sealgate.trust.statements.types import EVIDENCE
from sealgate.trust.times import format_time

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
