"""The audit record: answers and refusals, durable before anything leaves."""

from gateway.recording.burst import PreparedRecord, Recorded, RecordTemplate
from gateway.recording.call_recorder import AuditCallRecorder
from gateway.recording.log_memory import ErasedKeys, LogMemory
from gateway.recording.recorder import (
    AuditRecord,
    AuditRecorder,
    SearchRecord,
    actions_of,
    measured,
    record_of,
    screening_of,
)
from gateway.recording.store import GatewayStore, OwnAnswers, SubjectErasure

__all__ = [
    "AuditCallRecorder",
    "AuditRecord",
    "AuditRecorder",
    "ErasedKeys",
    "GatewayStore",
    "LogMemory",
    "OwnAnswers",
    "PreparedRecord",
    "RecordTemplate",
    "Recorded",
    "SearchRecord",
    "SubjectErasure",
    "actions_of",
    "measured",
    "record_of",
    "screening_of",
]
