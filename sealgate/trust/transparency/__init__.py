"""Transparency logs: Merkle trees, tiles, signed notes and checkpoints, witnesses' cosignatures."""

from sealgate.trust.transparency.checkpoint import (
    Checkpoint,
    log_vkey,
    open_checkpoint,
    sign_checkpoint,
)
from sealgate.trust.transparency.tlog_proof import TlogProof

__all__ = [
    "Checkpoint",
    "TlogProof",
    "log_vkey",
    "open_checkpoint",
    "sign_checkpoint",
]
