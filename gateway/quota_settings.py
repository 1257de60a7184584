"""The settings of quotas: the sections `[[quotas]]` and `[quota_store]`."""

import re
from dataclasses import dataclass

from sealgate.settings import ConfigError

_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour)")


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one principal may ask, or each one with a role: `rate` (such as "100/second"; also
    minute, hour), `concurrent` calls on this gateway, `daily` calls. Whatever is left out is free.
    """

    principal: str = ""
    """Whose quota it is, unless `role` says it."""
    role: str = ""
    """Of which role they are who have it, each their own."""
    rate: str = ""
    concurrent: int = 0
    daily: int = 0

    def __post_init__(self) -> None:
        if bool(self.principal) == bool(self.role):
            raise ConfigError("[quotas] each names either a principal or a role")
        if not (self.rate or self.concurrent or self.daily):
            raise ConfigError("[quotas] each sets rate, concurrent or daily")
        if self.rate and not _RATE.fullmatch(self.rate):
            raise ConfigError(f'[quotas] rate = {self.rate!r} is not like "100/second"')


@dataclass(frozen=True, slots=True)
class QuotaStore:
    """Where rates and daily quotas are counted: with `redis://…` or `postgresql://…` gateways count
    together; by default each counts for itself, and afresh when it starts.
    """

    url: str = "memory://"
    """The store, whose clock ends windows."""
