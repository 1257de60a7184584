"""Time stamps (RFC 3161) on the checkpoints of this gateway's logs."""

from gateway.timestamps.updates import StampedLog, TimestampStore, TimestampUpdater

__all__ = ["StampedLog", "TimestampStore", "TimestampUpdater"]
