"""Calling a gateway over gRPC: connections, errors, retried calls, lists, streams and uploads."""

from sealgate.remote.connection import (
    RECEIPT_METADATA,
    Access,
    Profile,
    ProfileError,
    access_of,
    connect,
    facts_of,
    reason_name_of,
    reason_of,
    retry_after_of,
    status_of,
)

__all__ = [
    "RECEIPT_METADATA",
    "Access",
    "Profile",
    "ProfileError",
    "access_of",
    "connect",
    "facts_of",
    "reason_name_of",
    "reason_of",
    "retry_after_of",
    "status_of",
]
