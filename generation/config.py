"""Configuration of a generator: one strict TOML file, an engine's plus `[generation]`."""

from dataclasses import dataclass, field
from pathlib import Path

from inference.observability.tracing import TraceSettings
from inference.runtime.providers import check_device
from inference.runtime.settings import CPU, CUDA, ROCM
from inference.server.config import (
    ArtifactLocation,
    EngineConfig,
    EngineIdentity,
    EngineLimits,
    EngineTlsFiles,
    EngineTrustFiles,
    ListenAddress,
)
from sealgate.process_log import LogSettings
from sealgate.settings import ConfigError, read_settings


@dataclass(frozen=True, slots=True)
class GeneratorLimits(EngineLimits):
    """The limits of an engine, with more time per answer."""

    deadline: float = 600.0
    """The most that an answer may take."""


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """Limits of generation in one process."""

    copies: Path
    """A folder of this process's own, where verified weights lie while they are used."""
    cache_tokens: int = 16384
    """How many tokens, of prompts and answers, the cache of each loaded version holds."""
    page_tokens: int = 32
    """The cache is given out in pages of so many tokens."""
    step_tokens: int = 512
    """How many tokens one step of the model runs."""
    queue: int = 64
    """How many answers may wait for room in the cache."""
    device: str = CPU
    """Where models are computed: `cpu`, a GPU such as `cuda`, `cuda:1` or `rocm`, or `mps`. If it
    is not there, the process does not start.
    """
    fallback: bool = False
    """With `fallback`, models are computed on the CPU where the device cannot be used, and every
    entry says so.
    """

    processes: int = 1
    """How many processes of this machine compute each model together, each with a part of every
    matrix; on GPUs, each with a GPU of its own.
    """

    def __post_init__(self) -> None:
        check_device("generation", self.device, self.fallback)
        if self.processes > 1 and self.device not in (CPU, CUDA, ROCM):
            raise ConfigError(
                f"[generation] processes take the CPU or a GPU each, not device = {self.device!r}"
            )
        if self.page_tokens < 4 or self.cache_tokens < 2 * self.page_tokens:
            raise ConfigError(
                "[generation] page_tokens must be at least 4, and cache_tokens at least two pages"
            )

    @property
    def pages(self) -> int:
        """How many pages the cache has."""
        return self.cache_tokens // self.page_tokens


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """The whole file, checked."""

    listen: ListenAddress
    trust: EngineTrustFiles
    artifacts: ArtifactLocation
    engine: EngineIdentity
    generation: GenerationSettings
    tls: EngineTlsFiles = field(default_factory=EngineTlsFiles)
    limits: GeneratorLimits = field(default_factory=GeneratorLimits)
    log: LogSettings = field(default_factory=LogSettings)
    traces: TraceSettings = field(default_factory=TraceSettings)

    def __post_init__(self) -> None:
        self.as_engine()

    def as_engine(self) -> EngineConfig:
        """The settings that an engine that runs graphs has too. Raises: ConfigError."""
        return EngineConfig(
            listen=self.listen,
            trust=self.trust,
            artifacts=self.artifacts,
            engine=self.engine,
            tls=self.tls,
            limits=self.limits,
            log=self.log,
        )

    @classmethod
    def read(cls, path: Path) -> "GeneratorConfig":
        """Reads and checks a configuration file. Raises: ConfigError, with what to change."""
        return read_settings(path, cls)
