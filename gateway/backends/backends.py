"""Where versions run, by the configuration: here, in engines of other processes, in a foreign
server; language models in their own process.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.config.document import EngineSettings, GatewayConfig, GeneratorSettings
from inference.backends.local import LocalLoader
from inference.backends.oip.server import OipLoader, open_oip
from inference.backends.openai.generator import OpenAiEngine
from inference.backends.remote.endpoint import Endpoint, SocketEndpoint, TlsEndpoint
from inference.backends.remote.engine_pool import EnginePool
from inference.backends.remote.generator import RemoteGeneratorEngine
from inference.backends.remote.remote_engine import RemoteEngine
from inference.batching.limits import OperatorBounds
from inference.engine.engine import (
    Engine,
    ServableVersion,
    TrustAnchor,
    UntrustedSnapshot,
    VersionLoader,
)
from inference.engine.rollback_guard import RollbackGuardFile
from inference.engine.trust_state import Place
from inference.engine.version_verifier import FileSource, Source, VerifiedPointer
from inference.llm.terms import is_generator
from inference.runtime.settings import CpuSettings
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.statements import Manifest, Pointer, PointerBundle


def open_pool(engines: Sequence[EngineSettings]) -> EnginePool | None:
    """The engines of other processes, if the configuration names any. Raises: ConfigError."""
    remotes = [remote for remote in map(open_remote_engine, engines) if remote is not None]
    return EnginePool(remotes) if remotes else None


def open_remote_engine(settings: EngineSettings, *, costs: bool = True) -> RemoteEngine | None:
    """The engine of another process. It may be unreachable now, but its socket must be private.
    `costs`: see `RemoteEngine`.

    Raises: ConfigError.
    """
    endpoint = _endpoint(settings)
    if endpoint is None:
        return None
    try:
        endpoint.check()
    except SealgateError as refusal:
        if refusal.reason is not Reason.ENGINE_UNAVAILABLE:
            raise ConfigError(f"{refusal.reason.name}: [engine] {refusal.detail}") from refusal
    return RemoteEngine(endpoint, settings.name, costs=costs)


def _endpoint(settings: EngineSettings) -> Endpoint | None:
    if settings.socket is not None:
        return SocketEndpoint(settings.socket)
    files = settings.certificate, settings.client_certificate, settings.client_key
    certificate, own, key = files
    if certificate is None or own is None or key is None:
        return None
    return TlsEndpoint(settings.address, certificate, own, key)


@dataclass(frozen=True, slots=True)
class _Part:
    """The registry's state with some of its pointers."""

    policies: tuple[Envelope, ...]
    freshness: Envelope | None
    bundles: Mapping[Place, PointerBundle]


class BackendRouter:
    """A `VersionLoader`, and all processes in which versions run, as `gateway.sync.registry_sync`
    shows them.
    """

    def __init__(
        self,
        loader: VersionLoader,
        pool: EnginePool | None,
        generators: RemoteGeneratorEngine | OpenAiEngine,
    ) -> None:
        """`loader` is for versions that run graphs, `pool` where that is in other processes."""
        self._loader = loader
        self._pool = pool
        self._generators = generators

    @property
    def behind(self) -> bool:
        """Whether a process must be shown everything again."""
        return self._generators.behind or (self._pool is not None and self._pool.behind)

    def show(self, snapshot: UntrustedSnapshot, source: Source) -> None:
        """Show each process the pointers of its kind."""
        parts: dict[bool, dict[Place, PointerBundle]] = {True: {}, False: {}}
        for place, bundle in snapshot.bundles.items():
            parts[_is_generators(bundle, source)][place] = bundle
        state = (tuple(snapshot.policies), snapshot.freshness)
        if self._pool is not None:
            self._pool.show(_Part(*state, parts[False]), source)
        self._generators.show(_Part(*state, parts[True]), source)

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`."""
        kind = self._generators if is_generator(cleared.manifest) else self._loader
        return kind.load(cleared, source, loaded)

    def probe(self) -> None:
        """See `RemoteEngine.probe`."""
        for place in self._places():
            place.probe()

    def counts(self) -> list[Envelope]:
        """What each process says that it ran, signed; nothing is checked here."""
        return [*(self._pool.counts() if self._pool else ()), *self._generators.counts()]

    def close(self) -> None:
        for place in self._places():
            place.close()

    def _places(self) -> list[EnginePool | RemoteGeneratorEngine | OpenAiEngine]:
        return [self._generators, *([self._pool] if self._pool is not None else [])]


def _is_generators(bundle: PointerBundle, source: Source) -> bool:
    """Whether a pointer leads to a language model; not where its manifest cannot be read, for which
    it alone is refused, and no other pointer.
    """
    try:
        signed = source.signed_manifest(Pointer.decode(bundle.pointer.payload).digest)
        return is_generator(Manifest.decode(signed.manifest))
    except SealgateError:
        return False


def open_generators(settings: GeneratorSettings) -> RemoteGeneratorEngine | OpenAiEngine | None:
    """The process or server that `[generator]` names, if it names one. Raises: ConfigError."""
    if settings.kind:
        return OpenAiEngine(settings.server(), settings.name, settings.model)
    try:
        remote = open_remote_engine(settings, costs=False)
    except ConfigError as error:
        raise ConfigError(str(error).replace("[engine]", "[generator]")) from error
    return RemoteGeneratorEngine(remote) if remote is not None else None


@dataclass(frozen=True, slots=True)
class Backends:
    """The engine, and what is shown the registry's state before it: None where that is nothing."""

    engine: Engine
    shown: BackendRouter | EnginePool | None
    foreign: OipLoader | None

    @classmethod
    def open(
        cls,
        config: GatewayConfig,
        roots: Mapping[str, PublicKey],
        clock: Callable[[], datetime],
    ) -> "Backends":
        """Raises: ConfigError."""
        pool = open_pool(config.all_engines)
        cpu = CpuSettings.detect(config.runtime.threads_per_run)
        bounds = OperatorBounds(config.batching)
        foreign = open_oip(config.foreign_engine, cpu, bounds)
        loader = pool or foreign or LocalLoader(cpu, bounds, config.runtime)
        generators = open_generators(config.generator)
        by_kind = BackendRouter(loader, pool, generators) if generators is not None else None
        anchor = TrustAnchor(roots, config.trust.threshold)
        seen = RollbackGuardFile.open(config.trust.seen)
        return cls(Engine(anchor, seen, clock, by_kind or loader), by_kind or pool, foreign)

    def close(self) -> None:
        """Part from the other processes."""
        for elsewhere in (self.shown, self.foreign):
            if elsewhere is not None:
                elsewhere.close()
