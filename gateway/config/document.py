"""The configuration: one strict TOML file whose relative paths start at its own folder."""

from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.engines import EngineSettings, GeneratorSettings, check_engines
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
)
from gateway.security_events import SecurityEventSettings
from inference.backends.oip.server import OipSettings
from inference.batching.limits import BatchingBounds, OperatorBounds
from inference.observability.tracing import TraceSettings
from inference.runtime.settings import ON_CPU, RuntimeSettings
from sealgate.process_log import LogSettings
from sealgate.settings import ConfigError, MetricsSettings, read_settings


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
