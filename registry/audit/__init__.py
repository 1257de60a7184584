"""Audit queries, and the comparison of the registry's database with its log."""

from registry.audit.database_check import file_of, reconcile
from registry.audit.erasures import (
    Erasures,
    PlannedErasure,
    Prunings,
    RecordedErasure,
    destroyed_keys_in,
    pruned_of,
)
from registry.audit.feed import Feed, FeedChange
from registry.audit.reports import Anchors, EngineCountsBook, Refusals, newest_anchor
from registry.audit.trail import AuditTrail, EntryProof

__all__ = [
    "Anchors",
    "AuditTrail",
    "EngineCountsBook",
    "EntryProof",
    "Erasures",
    "Feed",
    "FeedChange",
    "PlannedErasure",
    "Prunings",
    "RecordedErasure",
    "Refusals",
    "destroyed_keys_in",
    "file_of",
    "newest_anchor",
    "pruned_of",
    "reconcile",
]
