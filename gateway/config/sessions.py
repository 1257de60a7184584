"""The settings of the section `[sessions]`: where fingerprints of callers' inputs are kept."""

from dataclasses import dataclass
from pathlib import Path

from sealgate.settings import ConfigError


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """With `redis://…` or `postgresql://…` gateways see a caller's session together; by default
    each sees its own part, and forgets it when it ends. `key`: a private file of 32 random bytes
    or more, the same on all of them, which fingerprints are made with. `kept_seconds`: how long a
    fingerprint is kept in a shared place.
    """

    url: str = "memory://"
    """The shared place, or this process's memory."""
    key: Path | None = None
    kept_seconds: int = 86400

    def __post_init__(self) -> None:
        scheme = self.url.partition("://")[0]
        if scheme not in ("memory", "redis", "rediss", "redis+unix", "postgresql"):
            # The rest may hold a password.
            raise ConfigError(
                f"[sessions] url cannot begin with {scheme!r}; use memory://, redis:// or "
                "postgresql://user@host/database"
            )
        if scheme != "memory" and self.key is None:
            raise ConfigError("[sessions] key is needed where gateways share sessions")
        if self.kept_seconds < 1:
            raise ConfigError("[sessions] kept_seconds must be positive")
