"""A witness: a small server that cosigns checkpoints of logs that only grow (C2SP tlog-witness)."""

from sealgate.witness.service import PATH, AddCheckpoint, size

__all__ = [
    "PATH",
    "AddCheckpoint",
    "size",
]
