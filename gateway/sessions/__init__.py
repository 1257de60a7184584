"""Callers' sessions: fingerprints of inputs, evidence of a search or an extraction."""

from gateway.sessions.query_attack_detection import FlaggedSessions
from gateway.sessions.sealed import open_sessions
from gateway.sessions.session_screen import SessionFinding, SessionWatch

__all__ = [
    "FlaggedSessions",
    "SessionFinding",
    "SessionWatch",
    "open_sessions",
]
