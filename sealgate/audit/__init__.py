"""An auditor's checks: logs recomputed from their entries, and decisions traced to exact bytes."""

from sealgate.audit.answer_logs import AnswerLogHistory, last_anchor, log_keys, named_logs
from sealgate.audit.auditor import Auditor
from sealgate.audit.blast_radius import (
    BlastRadius,
    add_judged,
    radius_of_key,
    radius_of_threshold,
    radius_of_version,
)
from sealgate.audit.completeness import (
    Completeness,
    RecordedCounts,
    compare_counts,
    note_entry,
    read_statements,
)
from sealgate.audit.decision import HOLDS, DecisionStep, Examination
from sealgate.audit.entries import ProvedEntry, live_pointers, prove_entry
from sealgate.audit.reader import AuditReader, OpenedEntry
from sealgate.audit.tree_check import Claim, LogFinding, StampAuthority, check_sizes, kept_stamps
from sealgate.audit.verification import (
    BROKEN,
    ELSEWHERE,
    INCOMPLETE,
    INTACT,
    LogReport,
    VerifyOptions,
    verify_logs,
)

__all__ = [
    "BROKEN",
    "ELSEWHERE",
    "HOLDS",
    "INCOMPLETE",
    "INTACT",
    "AnswerLogHistory",
    "AuditReader",
    "Auditor",
    "BlastRadius",
    "Claim",
    "Completeness",
    "DecisionStep",
    "Examination",
    "LogFinding",
    "LogReport",
    "OpenedEntry",
    "ProvedEntry",
    "RecordedCounts",
    "StampAuthority",
    "VerifyOptions",
    "add_judged",
    "check_sizes",
    "compare_counts",
    "kept_stamps",
    "last_anchor",
    "live_pointers",
    "log_keys",
    "named_logs",
    "note_entry",
    "prove_entry",
    "radius_of_key",
    "radius_of_threshold",
    "radius_of_version",
    "read_statements",
    "verify_logs",
]
