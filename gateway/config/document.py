"""The configuration: one strict TOML file whose relative paths start at its own folder.

Engines run in this process unless `[engine]`, or each of `[[engines]]`, names another.
"""

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config.optional_sections import (
    FeatureSettings,
    HttpSettings,
    Quota,
    QuotaStore,
    SessionSettings,
    TimestampSettings,
    WitnessSettings,
)
from gateway.config.sections import (
    AnswerStore,
    ApiKeySettings,
    Environment,
    GatewayLimits,
    Listeners,
    RegistryStore,
    RollbackKey,
    TlsFiles,
    TokenIssuer,
    TrustSettings,
    check_address,
)
from gateway.security_events import SecurityEventSettings
from inference.backends.oip.foreign_server import OipSettings
from inference.backends.openai.client import OpenAiServer
from inference.batching import BatchingBounds, OperatorBounds
from inference.observability.tracing import TraceSettings
from inference.runtime.settings import ON_CPU, RuntimeSettings
from inference.server.config import check_length
from sealgate.process_log import LogSettings
from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError, MetricsSettings, check_host_port, read_settings
from sealgate.trust.fields import check_name
from sealgate.trust.keys import read_private_file


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """An engine in a process of its own, at a socket, or at an address with mutual TLS. Files are
    read again when they change.
    """

    name: str = "engine"
    """Its name in logs and records."""
    socket: Path | None = None
    """The unix socket at which it listens."""
    address: str = ""
    """The address at which it listens, host:port."""
    certificate: Path | None = None
    """Its own certificate, which is pinned (PEM)."""
    client_certificate: Path | None = None
    """The certificate of this gateway, which it pins (PEM)."""
    client_key: Path | None = None
    """The private key of the gateway's certificate (PEM)."""

    def __post_init__(self) -> None:
        files = (self.certificate, self.client_certificate, self.client_key)
        if self.socket and (self.address or any(files)):
            raise ConfigError("[engine] takes a socket, or an address with certificates, not both")
        if self.address and not all(files):
            raise ConfigError(
                "[engine] address needs certificate (the engine's), client_certificate, client_key"
            )
        if any(files) and not self.address:
            raise ConfigError("[engine] has certificates and no address")
        if self.address:
            check_host_port(f"[engine] {self.address!r}", self.address, any_host=True)
        check_length("[engine] socket", self.socket)
        try:
            check_name(self.name)
        except SealgateError:
            raise ConfigError(
                f"[engine] name = {self.name!r} is not of the form [a-z][a-z0-9-]{{0,62}}"
            ) from None

    @property
    def is_elsewhere(self) -> bool:
        """Whether it says where an engine is."""
        return bool(self.socket or self.address)


def check_engines(engines: Sequence[EngineSettings]) -> None:
    """Raises: ConfigError where one is nowhere, or two go by the same name."""
    if not all(engine.is_elsewhere for engine in engines):
        raise ConfigError("[[engines]] each need a socket, or an address with certificates")
    if len({engine.name for engine in engines}) != len(engines):
        raise ConfigError("[[engines]] need a name each, and another than [engine] has")


OPENAI = "openai"
_MODEL = re.compile(r"([^{}]|\{model\}|\{version\})+")


@dataclass(frozen=True, slots=True)
class GeneratorSettings(EngineSettings):
    """Where language models run: in Sealgate's own process (`sealgate serve generator`), or on a
    server of OpenAI's protocol, whose bytes and tokens cannot be checked.
    """

    kind: str = ""
    """Empty for our own process, `openai` for a server of OpenAI's protocol."""
    url: str = ""
    """The server's base URL, such as `https://models.example/v1`; http on this machine alone."""
    key: Path | None = None
    """A private file with the key for the server, sent as bearer."""
    authority: Path | None = None
    """Trusted for https instead of the system's authorities (PEM)."""
    model: str = "{model}"
    """The server's name of a version: text in which `{model}` and `{version}` stand for ours."""

    def __post_init__(self) -> None:
        EngineSettings.__post_init__(self)
        if self.kind not in ("", OPENAI):
            raise ConfigError(f'[generator] kind = {self.kind!r} is not "openai"')
        if bool(self.kind) != bool(self.url) or (self.kind and self.is_elsewhere):
            raise ConfigError('[generator] takes kind = "openai" with url, or our own process')
        if (self.key or self.authority) and not self.kind:
            raise ConfigError('[generator] key and authority are for kind = "openai"')
        if self.kind:
            self._check_url()
        if not _MODEL.fullmatch(self.model):
            raise ConfigError("[generator] model may hold {model} and {version} alone")

    def server(self) -> OpenAiServer:
        """The server that `url` names. Raises: ConfigError where a file cannot be used."""
        context = None
        try:
            if urlsplit(self.url).scheme == "https":
                authority = str(self.authority) if self.authority else None
                context = ssl.create_default_context(cafile=authority)
            key = read_private_file(self.key).decode("ascii").strip() if self.key else ""
        except SealgateError as refusal:
            raise ConfigError(f"{refusal.reason.name}: [generator] key: {refusal.detail}") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"[generator] cannot be used: {type(error).__name__}") from error
        if not key.isprintable() or " " in key:
            raise ConfigError("[generator] key is no single word")
        return OpenAiServer(urlsplit(self.url.rstrip("/")), key, context)

    def _check_url(self) -> None:
        try:
            parts = check_address(self.url, insecure_loopback=True)
        except SealgateError:
            raise ConfigError(
                f"[generator] url = {self.url!r} is neither https nor http on this machine"
            ) from None
        if parts.query:
            raise ConfigError("[generator] url has a query")


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    listen: Listeners
    trust: TrustSettings
    registry: RegistryStore
    answers: AnswerStore
    gateway: Environment = field(default_factory=Environment)
    tls: TlsFiles = field(default_factory=TlsFiles)
    tokens: tuple[TokenIssuer, ...] = ()
    api_keys: ApiKeySettings = field(default_factory=ApiKeySettings)
    limits: GatewayLimits = field(default_factory=GatewayLimits)
    quotas: tuple[Quota, ...] = ()
    engine: EngineSettings = field(default_factory=EngineSettings)
    engines: tuple[EngineSettings, ...] = ()
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    foreign_engine: OipSettings = field(default_factory=OipSettings)
    quota_store: QuotaStore = field(default_factory=QuotaStore)
    batching: tuple[BatchingBounds, ...] = ()
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    rollback: RollbackKey = field(default_factory=RollbackKey)
    sessions: SessionSettings = field(default_factory=SessionSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    witnesses: tuple[WitnessSettings, ...] = ()
    timestamps: TimestampSettings = field(default_factory=TimestampSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    log: LogSettings = field(default_factory=LogSettings)
    traces: TraceSettings = field(default_factory=TraceSettings)
    security_events: SecurityEventSettings = field(default_factory=SecurityEventSettings)

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
        self.http.check(
            pair=bool(self.tls.certificate and self.tls.key),
            certificates=bool(self.tls.client_authority),
            bearers=bool(self.tokens or self.api_keys.mac_key),
        )
        check_engines(self.all_engines)
        if self.all_engines and self.foreign_engine.address:
            raise ConfigError("[engine] and [foreign_engine] cannot both say where versions run")
        for section, stated in (("[[batching]]", self.batching), ("[runtime]", self.runtime)):
            if self.all_engines and stated not in ((), ON_CPU):
                raise ConfigError(f"{section} belongs into engine.toml where [engine] is set")
        if self.foreign_engine.address and self.runtime != ON_CPU:
            raise ConfigError("[runtime] has no effect on a [foreign_engine]")
        OperatorBounds(self.batching)
        if len({witness.key for witness in self.witnesses}) != len(self.witnesses):
            raise ConfigError("[[witnesses]] names a key twice")
        scopes = [(quota.principal, quota.role) for quota in self.quotas]
        if len(set(scopes)) != len(scopes):
            raise ConfigError("[quotas] names a principal or a role twice")

    @property
    def all_engines(self) -> tuple[EngineSettings, ...]:
        """Those of processes of their own: `[engine]` where it names one, and the `[[engines]]`."""
        return (*([self.engine] if self.engine.is_elsewhere else []), *self.engines)

    @classmethod
    def read(cls, path: Path) -> "GatewayConfig":
        """Reads and checks a configuration file. Raises: ConfigError, with what to change."""
        return read_settings(path, cls)
