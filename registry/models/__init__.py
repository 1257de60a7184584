"""Models, their versions, and the evidence that belongs to a version."""

from registry.models.evidence import Allowances, Attachments, Drifts
from registry.models.models import (
    Models,
    check_model,
    check_version,
    evidence_of,
    evidence_text,
    read_version,
)
from registry.models.versions import Versions

__all__ = [
    "Allowances",
    "Attachments",
    "Drifts",
    "Models",
    "Versions",
    "check_model",
    "check_version",
    "evidence_of",
    "evidence_text",
    "read_version",
]
