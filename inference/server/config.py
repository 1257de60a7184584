"""Configuration of an engine server: one strict TOML file.

Relative paths start at the file's own folder. The file names no database: a gateway shows what is
live, and the engine verifies it from the root keys in this file.
"""

from dataclasses import dataclass, field
from pathlib import Path

from inference.batching import BatchingBounds, OperatorBounds
from inference.observability.tracing import TraceSettings
from inference.runtime.settings import RuntimeSettings
from inference.server.unix_sockets import LONGEST_PATH
from registry.storage.artifacts import Bucket
from sealgate.process_log import LogSettings
from sealgate.settings import ConfigError, MetricsSettings, check_host_port, read_settings

_MOST = 64


@dataclass(frozen=True, slots=True)
class RaySettings:
    """Only `sealgate serve engine --on ray` reads this section. Times are in seconds."""

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


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where gateways reach the engine: at one of the two."""

    socket: Path | None = None
    """A unix socket."""
    tls: str = ""
    """An address, host:port, with mutual TLS."""

    def __post_init__(self) -> None:
        if bool(self.socket) == bool(self.tls):
            raise ConfigError("[listen] needs one of socket (a path) and tls (host:port)")
        if self.tls:
            check_host_port(f"[listen] {self.tls!r}", self.tls, any_host=True)
        check_length("[listen] socket", self.socket)


@dataclass(frozen=True, slots=True)
class EngineTlsFiles:
    """Certificates for mutual TLS, which both sides pin. Files are read again when they change."""

    certificate: Path | None = None
    """The engine's own certificate (PEM)."""
    key: Path | None = None
    """The private key of the engine's certificate (PEM)."""
    gateways: tuple[Path, ...] = ()
    """The certificates of the gateways (PEM)."""


@dataclass(frozen=True, slots=True)
class EngineTrustFiles:
    """The engine's own roots of trust: root keys, and what it saw last."""

    root_keys: tuple[Path, ...]
    """The public keys (PEM) of the policy's roots, pinned."""
    threshold: int
    """How many root keys must have signed a policy."""
    seen: Path
    """A file in which the engine remembers the highest sequences and versions that it has verified:
    it refuses lower ones.
    """

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.root_keys):
            raise ConfigError("[trust] threshold must lie between 1 and the number of root_keys")


@dataclass(frozen=True, slots=True)
class ArtifactLocation:
    """Where the engine reads the files of versions."""

    place: Path | str
    """A folder, or `s3://bucket/prefix`."""
    endpoint: str = ""
    """The address of the bucket's service, unless it is AWS."""
    region: str = ""
    """The bucket's region, where its service asks for one."""

    def __post_init__(self) -> None:
        if isinstance(self.place, str):
            self.bucket(self.place)

    def bucket(self, url: str) -> Bucket:
        """The bucket, if `place` is a URL. Raises: ConfigError."""
        try:
            return Bucket.parse(url, self.endpoint, self.region)
        except ValueError as error:
            raise ConfigError(f"[artifacts] place {error}") from None


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """The engine's principal (role `engine`), and its key, which the policy lists."""

    name: str
    """The principal."""
    key: Path
    """Its private key (PEM), which signs the counts of what was run."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Bounds; times in seconds."""

    message_bytes: int = 16 * 1024 * 1024
    """The largest message that is taken."""
    connections: int = 16
    """Connections of gateways."""
    concurrent_calls: int = 256
    """Calls in progress or waiting."""
    threads: int = 64
    """Calls that are worked on at once."""
    deadline: float = 10.0
    """The most that a call may take."""
    drain: float = 15.0
    """How long calls in progress may go on when the engine ends."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The whole file, checked."""

    listen: ListenAddress
    trust: EngineTrustFiles
    artifacts: ArtifactLocation
    engine: EngineIdentity
    tls: EngineTlsFiles = field(default_factory=EngineTlsFiles)
    limits: EngineLimits = field(default_factory=EngineLimits)
    batching: tuple[BatchingBounds, ...] = ()
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    ray: RaySettings = field(default_factory=RaySettings)
    log: LogSettings = field(default_factory=LogSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    traces: TraceSettings = field(default_factory=TraceSettings)

    def __post_init__(self) -> None:
        if self.listen.tls and not (self.tls.certificate and self.tls.key and self.tls.gateways):
            raise ConfigError("[tls] certificate, key and gateways are needed to listen with TLS")
        OperatorBounds(self.batching)

    @classmethod
    def read(cls, path: Path) -> "EngineConfig":
        """Reads and checks a configuration file. Raises: ConfigError, with what to change."""
        return read_settings(path, cls)


def check_length(setting: str, path: Path | None) -> None:
    """Raises: ConfigError where a unix socket's path is too long for the system."""
    if path is not None and len(bytes(path.absolute())) > LONGEST_PATH:
        raise ConfigError(f"{setting} is longer than {LONGEST_PATH} bytes: {path}")
