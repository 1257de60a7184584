"""Transparency logs: Merkle trees, tiles, signed notes and checkpoints, witnesses' cosignatures."""

from sealgate.trust.transparency.checkpoint import (
    Checkpoint,
    CheckpointSigner,
    RotatingSigner,
    TlogProof,
    current_vkey,
    log_vkey,
    open_checkpoint,
    origin_of,
    sign_checkpoint,
    signing_keys,
)

__all__ = [
    "Checkpoint",
    "CheckpointSigner",
    "RotatingSigner",
    "TlogProof",
    "current_vkey",
    "log_vkey",
    "open_checkpoint",
    "origin_of",
    "sign_checkpoint",
    "signing_keys",
]
