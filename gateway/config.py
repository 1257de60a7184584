"""The gateway's configuration: one strict TOML file whose relative paths start at its own folder.

Nothing has a default that opens anything: without keys, certificates, policy or log the gateway
does not start, and only loopback may be served without TLS.
"""

import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gateway.config_error import ConfigError
from gateway.credentials.fetch import check_address
from gateway.quota_settings import Quota, QuotaStore
from registry.buckets import Bucket
from sealgate.reasons import Refusal


@dataclass(frozen=True, slots=True)
class Listeners:
    """Addresses, `host:port`. `tls` expects a token from callers, `mutual` a client certificate."""

    tls: str = ""
    mutual: str = ""
    insecure: str = ""

    def __post_init__(self) -> None:
        if not (self.tls or self.mutual or self.insecure):
            raise ConfigError("[listen] names no address: set tls, mutual or both")
        for address in filter(None, (self.tls, self.mutual, self.insecure)):
            if not address.rpartition(":")[2].isdigit():
                raise ConfigError(f"[listen] {address!r} is not of the form host:port")
        if self.insecure and not is_loopback(self.insecure):
            raise ConfigError(
                f"[listen] insecure = {self.insecure!r} would serve without TLS beyond this "
                "machine; move the address to tls (with [tls] certificate and key), or "
                "use 127.0.0.1"
            )


@dataclass(frozen=True, slots=True)
class Tls:
    certificate: Path | None = None
    key: Path | None = None
    client_authority: Path | None = None


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Whose tokens are believed. Its keys are in a file (`key_set`), at an https address
    (`key_set_url`), or where its OIDC configuration says (`discovery`).

    Fetched keys are renewed every `refresh` seconds, and used for `stale` seconds after the last
    time that this went well. `authority` (PEM) is trusted instead of the system's. For tests,
    `insecure_loopback` lets keys be fetched without TLS from this machine.
    """

    url: str
    audience: str
    key_set: Path | None = None
    key_set_url: str = ""
    discovery: bool = False
    authority: Path | None = None
    refresh: float = 300.0
    stale: float = 3600.0
    insecure_loopback: bool = False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.key_set, self.key_set_url, self.discovery))) != 1:
            raise ConfigError(
                f"[tokens] {self.url} needs one of key_set (a file), key_set_url, discovery = true"
            )
        if self.stale < self.refresh:
            raise ConfigError("[tokens] stale must not be shorter than refresh")
        address = self.key_set_url or (self.url if self.discovery else "")
        if address:
            try:
                check_address(address, insecure_loopback=self.insecure_loopback)
            except Refusal:
                raise ConfigError(f"[tokens] {address!r} is not an https address") from None


@dataclass(frozen=True, slots=True)
class ApiKeySettings:
    """`mac_key`: a private file of 32 random bytes or more, the same on every gateway of a
    registry. Without it API keys are neither issued nor accepted.
    """

    mac_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """What the engine believes without asking the database: root keys and what it saw last."""

    root_keys: tuple[Path, ...]
    threshold: int
    policy: Path
    seen: Path

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.root_keys):
            raise ConfigError("[trust] threshold must lie between 1 and the number of root_keys")


@dataclass(frozen=True, slots=True)
class RegistryStore:
    """`database`: a URL, of SQLite or PostgreSQL, or the path of a SQLite file. `artifacts`: a
    folder, or `s3://bucket/prefix`, whose service is at `artifacts_endpoint` unless it is AWS.
    """

    database: Path | str
    artifacts: Path | str
    origin: str
    log_key: Path
    freshness_key: Path
    artifacts_endpoint: str = ""
    artifacts_region: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.artifacts, str):
            self.bucket(self.artifacts)
        elif self.artifacts_endpoint or self.artifacts_region:
            raise ConfigError(
                "[registry] artifacts_endpoint and artifacts_region need artifacts = "
                "'s3://bucket/prefix'; artifacts is a folder here"
            )

    def bucket(self, url: str) -> Bucket:
        """What `artifacts` names where it is a URL. Raises: ConfigError."""
        try:
            return Bucket.parse(url, self.artifacts_endpoint, self.artifacts_region)
        except ValueError as error:
            raise ConfigError(f"[registry] artifacts {error}") from None


@dataclass(frozen=True, slots=True)
class AnswerStore:
    """Where answers are recorded, and apart from them the keys of those they are about: places
    as of `RegistryStore.database`.
    """

    database: Path | str
    subjects: Path | str
    origin: str
    log_key: Path


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hold before and after authentication. Times are in seconds."""

    message_bytes: int = 4 * 1024 * 1024
    connections: int = 256
    concurrent_calls: int = 512
    streams_per_connection: int = 128
    threads: int = 64
    deadline: float = 10.0
    stream: float = 3600.0
    drain: float = 15.0
    anchor_every: float = 60.0


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    listen: Listeners
    trust: Trust
    registry: RegistryStore
    answers: AnswerStore
    tls: Tls = field(default_factory=Tls)
    tokens: tuple[TokenIssuer, ...] = ()
    api_keys: ApiKeySettings = field(default_factory=ApiKeySettings)
    limits: Limits = field(default_factory=Limits)
    quotas: tuple[Quota, ...] = ()
    quota_store: QuotaStore = field(default_factory=QuotaStore)

    def __post_init__(self) -> None:
        if (self.listen.tls or self.listen.mutual) and not (self.tls.certificate and self.tls.key):
            raise ConfigError("[tls] certificate and key are needed to listen with TLS")
        if self.listen.mutual and not self.tls.client_authority:
            raise ConfigError("[tls] client_authority is needed to listen with mutual TLS")
        if (self.listen.tls or self.listen.insecure) and not self.tokens:
            raise ConfigError(
                "[[tokens]] is empty, so nobody could authenticate on [listen] tls; "
                "name an issuer, its audience and its key_set"
            )
        scopes = [(quota.principal, quota.role) for quota in self.quotas]
        if len(set(scopes)) != len(scopes):
            raise ConfigError("[quotas] names a principal or a role twice")

    @classmethod
    def read(cls, path: Path) -> "GatewayConfig":
        """Reads and checks a configuration file. Raises: ConfigError, with what to change."""
        try:
            document = tomllib.loads(path.read_text())
        except OSError as error:
            raise ConfigError(
                f"cannot read {path}: {error.strerror}; try `sealgate init`"
            ) from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} is not TOML: {error}") from None
        return _Reader(path.parent).gateway(document)


def is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Reader:
    """Builds each section from its table, refusing names that are missing or unknown."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def gateway(self, document: Mapping[str, Any]) -> GatewayConfig:
        known = {item.name for item in fields(GatewayConfig)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise ConfigError(
                f"unknown section {unknown[0]!r}; known are {', '.join(sorted(known))}"
            )
        issuers = document.get("tokens", [])
        return GatewayConfig(
            listen=self._section(Listeners, "listen", document),
            trust=self._section(Trust, "trust", document),
            registry=self._section(RegistryStore, "registry", document),
            answers=self._section(AnswerStore, "answers", document),
            tls=self._section(Tls, "tls", document),
            tokens=tuple(self._table(TokenIssuer, "tokens", table) for table in issuers),
            api_keys=self._section(ApiKeySettings, "api_keys", document),
            limits=self._section(Limits, "limits", document),
            quotas=tuple(self._table(Quota, "quotas", t) for t in document.get("quotas", [])),
            quota_store=self._section(QuotaStore, "quota_store", document),
        )

    def _section(self, kind: Any, name: str, document: Mapping[str, Any]) -> Any:
        return self._table(kind, name, document.get(name, {}))

    def _table(self, kind: Any, name: str, table: Mapping[str, Any]) -> Any:
        known = {item.name: item for item in fields(kind)}
        unknown = sorted(set(table) - set(known))
        if unknown:
            raise ConfigError(f"[{name}] has no setting {unknown[0]!r}; it has {', '.join(known)}")
        values = {key: self._value(name, known[key], value) for key, value in table.items()}
        try:
            return kind(**values)
        except TypeError as error:
            raise ConfigError(f"[{name}] {str(error).partition('() ')[2]}") from None

    def _value(self, section: str, item: Any, value: Any) -> Any:
        where = f"[{section}] {item.name}"
        if item.type in (Path, Path | None):
            return self._path(where, value)
        if item.type == Path | str:
            return self._place(where, value)
        if item.type == tuple[Path, ...]:
            if not isinstance(value, list):
                raise ConfigError(f"{where} must be a list of paths")
            return tuple(self._path(where, entry) for entry in value)
        if item.type is bool and isinstance(value, bool):
            return value
        accepted = (int, float) if item.type is float else (item.type,)
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise ConfigError(f"{where} must be of type {item.type.__name__}")
        if isinstance(value, (int, float)) and value <= 0:
            raise ConfigError(f"{where} must be positive")
        return value

    def _path(self, where: str, value: Any) -> Path:
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{where} must be a path")
        return self._folder / value

    def _place(self, where: str, value: Any) -> Path | str:
        """A URL as it is, or a path; SQLite's relative paths start at the folder in both."""
        if not isinstance(value, str) or "://" not in value:
            return self._path(where, value)
        scheme, separator, path = value.partition(":///")
        if scheme.startswith("sqlite") and separator and not path.startswith("/"):
            return f"{scheme}:///{(self._folder / path).resolve()}"
        return value
