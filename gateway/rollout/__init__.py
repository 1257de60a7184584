"""Canary, shadow, alias health and automatic rollback."""

from gateway.rollout.alias_health import Breach
from gateway.rollout.rollout import Rollout

__all__ = [
    "Breach",
    "Rollout",
]
