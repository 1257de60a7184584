"""The settings of quotas: the sections `[[quotas]]` and `[quota_store]`."""

import re
from dataclasses import dataclass

from sealgate.settings import ConfigError

_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour)")
_TOKENS = re.compile(r"[1-9][0-9]{0,11}/(minute|hour|day)")


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one principal may ask, or each one with a role: `rate` (such as "100/second"; also
    minute, hour), `concurrent` calls on this gateway, `daily` calls, `tokens` of language models.
    Whatever is left out is free.
    """

    principal: str = ""
    """Whose quota it is, unless `role` says it."""
    role: str = ""
    """Of which role they are who have it, each their own."""
    rate: str = ""
    concurrent: int = 0
    daily: int = 0
    tokens: str = ""
    """Tokens of prompts and answers together, such as "200000/hour"; also minute, day. As many as
    an answer may have are set aside when it begins, and those that it does not get given back.
    """

    def __post_init__(self) -> None:
        if bool(self.principal) == bool(self.role):
            raise ConfigError("[quotas] each names either a principal or a role")
        if not (self.rate or self.concurrent or self.daily or self.tokens):
            raise ConfigError("[quotas] each sets rate, concurrent, daily or tokens")
        if self.rate and not _RATE.fullmatch(self.rate):
            raise ConfigError(f'[quotas] rate = {self.rate!r} is not like "100/second"')
        if self.tokens and not _TOKENS.fullmatch(self.tokens):
            raise ConfigError(f'[quotas] tokens = {self.tokens!r} is not like "200000/hour"')


@dataclass(frozen=True, slots=True)
class QuotaStore:
    """Where rates and daily quotas are counted: with `redis://…` or `postgresql://…` gateways count
    together; by default each counts for itself, and afresh when it starts.
    """

    url: str = "memory://"
    """The store, whose clock ends windows."""
