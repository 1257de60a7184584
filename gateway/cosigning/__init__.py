"""Cosigning of this gateway's logs by witnesses: checkpoints go out, cosignatures are kept."""

from gateway.cosigning.cosignatures import CosignatureStore
from gateway.cosigning.updates import WitnessUpdater

__all__ = [
    "CosignatureStore",
    "WitnessUpdater",
]
