"""An auditor's checks: logs recomputed from their entries, and decisions traced to exact bytes."""

from sealgate.audit.auditor import Auditor
from sealgate.audit.tree_check import LogFinding

__all__ = [
    "Auditor",
    "LogFinding",
]
