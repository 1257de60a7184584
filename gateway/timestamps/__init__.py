"""Time stamps (RFC 3161) on the checkpoints of this gateway's logs."""

from gateway.timestamps.store import StampedLog, TimestampStore
from gateway.timestamps.updates import TimestampUpdater

__all__ = ["StampedLog", "TimestampStore", "TimestampUpdater"]
