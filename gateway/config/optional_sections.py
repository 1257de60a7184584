"""Sections that a configuration may leave out: quotas, sessions, witnesses, time stamps, HTTP."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError, check_host_port, is_loopback
from sealgate.trust.transparency.checkpoint import WitnessKey


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Features of all traffic, kept for a new calibration of screening."""

    folder: Path | None = None
    """Where features are kept; without it they are not."""
    days: int = 30
    """For how many days they are kept."""
    rows_a_day: int = 100_000
    """The most rows a day that are kept of each version."""

    def __post_init__(self) -> None:
        if self.days < 1 or self.rows_a_day < 1:
            raise ConfigError("[features] days and rows_a_day must be positive")


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """A witness of this gateway's logs. A witness that has seen another log raises an alert, and
    stops the log unless it is advisory.
    """

    url: str
    """Where the witness is: https, or http on this machine."""
    key: str
    """Its verifier key (C2SP, of type 0x04)."""
    authority: Path | None = None
    """Trusted for https instead of the system's authorities (PEM)."""
    advisory: bool = False
    """Let the log continue although this witness has seen another one."""

    def __post_init__(self) -> None:
        try:
            WitnessKey.from_vkey(self.key)
        except SealgateError as refusal:
            raise ConfigError(f"[witnesses] key = {self.key!r}: {refusal.detail}") from None
        _check_url("[witnesses]", self.url)

    @property
    def witness(self) -> WitnessKey:
        return WitnessKey.from_vkey(self.key)


@dataclass(frozen=True, slots=True)
class TimestampSettings:
    """Time stamps (RFC 3161) of an authority on the checkpoints of both logs. Without `url` there
    are none.
    """

    url: str = ""
    """Where the authority is: https, or http on this machine."""
    certificates: Path | None = None
    """The certificates that vouch for its stamps (PEM)."""
    policy: str = ""
    """The policy that stamps must be under, an OID such as "1.2.3.4.1"; empty: any."""
    every: float = 86400.0
    """Seconds between two stamps. A stamp is late after twice that time."""
    folder: Path | None = None
    """Where stamps are kept; by default `timestamps` beside `[trust] seen`."""
    authority: Path | None = None
    """Trusted for https instead of the system's authorities (PEM)."""
    insecure_plain_http: bool = False
    """Allow http to other machines. An attacker on the network can withhold stamps, but forge none.
    """

    def __post_init__(self) -> None:
        if not self.url:
            if self.certificates or self.policy or self.folder:
                raise ConfigError("[timestamps] url is needed where anything else is set")
            return
        _check_url("[timestamps]", self.url, plain=self.insecure_plain_http, query=True)
        if self.certificates is None:
            raise ConfigError("[timestamps] certificates is needed to verify stamps")
        if not self.every >= 60:
            raise ConfigError("[timestamps] every must be 60 seconds or more")


def _check_url(section: str, url: str, *, plain: bool = False, query: bool = False) -> None:
    """Check that a URL is https, on this machine, or `plain`; with a `query` where it may have one.

    Raises ConfigError.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(f"{section} url = {url!r} is not an address") from None
    printable = url.isascii() and url.isprintable() and " " not in url
    near = parts.scheme == "http" and (plain or is_loopback(f"{host}:{port or 80}"))
    extra = parts.username or parts.password or parts.fragment or (parts.query and not query)
    if not (printable and host and not extra and (near or parts.scheme == "https")):
        raise ConfigError(f"{section} url = {url!r} is neither https nor on this machine")


_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour)")
_TOKENS = re.compile(r"[1-9][0-9]{0,11}/(minute|hour|day)")


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one principal may use, or each principal with a role. A limit that is left out does
    not apply.
    """

    principal: str = ""
    """The principal whose quota it is, unless `role` is set."""
    role: str = ""
    """The role whose principals have this quota, each their own."""
    rate: str = ""
    """Calls in a time, such as "100/second"; also minute, hour."""
    concurrent: int = 0
    """Calls in progress on this gateway."""
    daily: int = 0
    """Calls in a day."""
    tokens: str = ""
    """Tokens of prompts and answers together, such as "200000/hour"; also minute, day. When
    an answer begins, the most that it may have is reserved; unused tokens are given back.
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
    """Where rates and daily quotas are counted."""

    url: str = "memory://"
    """`redis://…` or `postgresql://…`: gateways count together, by the store's clock. By default
    each gateway counts for itself, and begins anew when it starts.
    """


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Where callers' sessions are kept, in which query attacks are looked for."""

    url: str = "memory://"
    """`redis://…` or `postgresql://…`: gateways see a caller's session together. By default each
    gateway sees its own part, and forgets it when it ends.
    """
    key: Path | None = None
    """A private file of 32 random bytes or more, the same on all gateways, with which fingerprints
    are made.
    """
    kept_seconds: int = 86400
    """How long a fingerprint is kept in a shared store."""

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


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where HTTP is served: addresses as host:port; without one nothing listens."""

    tls: str = ""
    """With TLS. Where `[tls]` has a `client_authority`, callers are asked for a certificate; those
    with a token or an API key need none.
    """
    insecure: str = ""
    """Without TLS, on this machine alone."""

    def __post_init__(self) -> None:
        for address in filter(None, (self.tls, self.insecure)):
            check_host_port(f"[http] {address!r}", address)
        if self.insecure and not is_loopback(self.insecure):
            raise ConfigError(
                f"[http] insecure = {self.insecure!r} would serve without TLS beyond this "
                "machine; move the address to tls (with [tls] certificate and key), or "
                "use 127.0.0.1"
            )

    def check(self, pair: bool, certificates: bool, bearers: bool) -> None:
        """Holds the addresses against what else is configured: the server's certificate and key,
        an authority for certificates, and whoever vouches for bearer credentials.

        Raises: ConfigError.
        """
        if self.tls and not pair:
            raise ConfigError("[tls] certificate and key are needed for [http] tls")
        if (self.insecure and not bearers) or (self.tls and not (bearers or certificates)):
            raise ConfigError(
                "[[tokens]] is empty and [api_keys] has no mac_key, so nobody could authenticate "
                "on [http]"
            )
