"""The console's configuration, `console.toml`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from sealgate.process_log import LogSettings
from sealgate.settings import (
    ConfigError,
    check_host_port,
    is_loopback,
    read_settings,
    split_host_port,
)


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """The section `[listen]`: where browsers reach the console."""

    address: str
    """host:port. Beyond loopback, `certificate` and `key` are needed."""
    origin: str
    """The origin in browsers' address bar, as `https://console.example.com`. Requests for another
    host are refused. `http` is for `localhost` alone.
    """
    certificate: Path | None = None
    """The server's certificate chain (PEM)."""
    key: Path | None = None
    """Its private key (PEM)."""

    def __post_init__(self) -> None:
        check_host_port(f"[listen] address = {self.address!r}", self.address)
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("[listen] certificate and key belong together")
        parts = urlsplit(self.origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
            raise ConfigError(f"[listen] origin = {self.origin!r} is not like https://host:port")
        if self.certificate is None and not is_loopback(self.address):
            raise ConfigError(
                f"[listen] address = {self.address!r} is reached by others, so certificate and "
                "key are needed; or use 127.0.0.1"
            )
        if (parts.scheme == "http") != (self.certificate is None):
            raise ConfigError("[listen] origin is https exactly where there is a certificate")
        if parts.scheme == "http" and parts.hostname != "localhost":
            raise ConfigError("[listen] origin without TLS must be http://localhost")

    @property
    def host(self) -> str:
        return split_host_port(self.address)[0]

    @property
    def port(self) -> int:
        return int(split_host_port(self.address)[1])

    @property
    def authority(self) -> str:
        """The host, and the port where it is not the scheme's own, as browsers send it."""
        return urlsplit(self.origin).netloc.lower()


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The section `[gateway]`: the gateway, and the certificate that tokens are bound to."""

    endpoint: str
    """host:port of the gateway's `[listen] mutual`."""
    authority: Path
    """The authority that signs the gateway's certificate (PEM)."""
    certificate: Path
    """The console's own. It must name nobody: no common name, no SPIFFE ID."""
    key: Path
    """Its private key (PEM)."""


@dataclass(frozen=True, slots=True)
class ConsoleTrustSettings:
    """The section `[trust]`: what the console verifies policies, receipts and signatures with."""

    root_keys: tuple[Path, ...]
    """The pinned root keys (PEM)."""
    threshold: int
    """How many root keys must have signed a policy."""


@dataclass(frozen=True, slots=True)
class BrowserSessionSettings:
    """The section `[sessions]`: when a person has to sign in again, in seconds."""

    idle: float = 900.0
    """The longest time without a request."""
    absolute: float = 28800.0
    """The longest duration of a session; a token that expires sooner ends it sooner."""


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """The section `[links]`: sign-in by one-time links, on one machine without a provider."""

    folder: Path | None = None
    """The folder in which `sealgate console link` stores links; without it there are none."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The section `[oidc]`: sign-in at a provider, by authorization code with PKCE."""

    issuer: str = ""
    """The provider's URL, which its tokens name. Without it, there is no such sign-in."""
    client_id: str = ""
    """The console's id at the provider."""
    client_secret: Path | None = None
    """A file with its secret; without one, the console is known by its certificate (RFC 8705)."""
    scope: str = "openid"
    """The scopes to ask for, `openid` among them."""
    authority: Path | None = None
    """Trusted for https instead of the system's authorities (PEM)."""
    unsafe_unbound_tokens: bool = False
    """Accept access tokens without `cnf`. A thief can use a stolen token anywhere."""

    def __post_init__(self) -> None:
        if bool(self.issuer) != bool(self.client_id):
            raise ConfigError("[oidc] issuer and client_id belong together")
        if self.issuer and not self.issuer.startswith("https://"):
            raise ConfigError(f"[oidc] issuer = {self.issuer!r} is not https")
        if self.issuer and "openid" not in self.scope.split():
            raise ConfigError("[oidc] scope needs openid")


@dataclass(frozen=True, slots=True)
class ConsoleConfig:
    """Everything that a console process needs to start."""

    listen: ListenSettings
    gateway: GatewaySettings
    trust: ConsoleTrustSettings
    sessions: BrowserSessionSettings = field(default_factory=BrowserSessionSettings)
    links: LinkSettings = field(default_factory=LinkSettings)
    oidc: OidcSettings = field(default_factory=OidcSettings)
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        if self.links.folder is None and not self.oidc.issuer:
            raise ConfigError("nobody could sign in: set [oidc] issuer, or [links] folder")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises: ConfigError, with what to change."""
        return read_settings(path, cls)
