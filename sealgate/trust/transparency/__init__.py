"""Transparency logs: Merkle trees, tiles, signed notes and checkpoints, witnesses' cosignatures."""

from sealgate.trust.transparency.checkpoint import (
    Checkpoint,
    CheckpointSigner,
    TlogProof,
    log_vkey,
    open_checkpoint,
    sign_checkpoint,
)

__all__ = [
    "Checkpoint",
    "CheckpointSigner",
    "TlogProof",
    "log_vkey",
    "open_checkpoint",
    "sign_checkpoint",
]
