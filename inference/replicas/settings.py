"""How many replicas an engine has on Ray: the section `[ray]` of `engine.toml`."""

from dataclasses import dataclass

from sealgate.settings import ConfigError

_MOST = 64


@dataclass(frozen=True, slots=True)
class RaySettings:
    """Read by `sealgate serve engine --on ray` alone. Times are in seconds."""

    least: int = 1
    """Replicas that are always there."""
    most: int = 2
    """Replicas that there may be; each loads every version."""
    batches: float = 1.0
    """How many batches, waiting or running, a replica is to have on average: with more, there will
    be more replicas, with fewer, fewer.
    """
    grow_after: float = 2.0
    """For how long there must be too many before a replica is added."""
    shrink_after: float = 60.0
    """For how long there must be too few before a replica is taken away."""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most <= _MOST:
            raise ConfigError(f"[ray] needs 1 <= least <= most <= {_MOST}")
