"""Builds the backends that the configuration names, and the engine of a process of its own.

In a gateway they run here, in engines of other processes, or in a foreign server; language models
run in a process of their own. An engine of its own process is alone, or has replicas on Ray.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from gateway.config.document import EngineSettings, GatewayConfig, GeneratorSettings
from gateway.config.opening import open_store
from gateway.observability import EngineMetrics
from inference.backends.local import LocalLoader
from inference.backends.oip.foreign_server import OipLoader, open_oip
from inference.backends.openai.generator import OpenAiEngine
from inference.backends.ray.engine_host import ReplicaFront, ReplicaGroup
from inference.backends.ray.replica import PointerBoard, RayEnvironment, Replica
from inference.backends.remote.endpoint import Endpoint, SocketEndpoint, TlsEndpoint
from inference.backends.remote.engine_pool import EnginePool
from inference.backends.remote.generator import RemoteGeneratorEngine
from inference.backends.remote.remote_engine import RemoteEngine
from inference.backends.trial_load import TrialLoad
from inference.batching import OperatorBounds
from inference.engine import (
    Engine,
    FileSource,
    Place,
    RollbackGuardFile,
    ServableVersion,
    Source,
    TrustAnchor,
    UntrustedSnapshot,
    VerifiedPointer,
    VersionLoader,
)
from inference.llm.terms import is_generator
from inference.runtime.settings import CpuSettings
from inference.server.config import EngineConfig
from inference.server.host import EngineHost, RunTally
from inference.server.server import EngineServer
from registry.storage.artifacts import ArtifactStore
from sealgate.process_log import configure
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.steady_clock import now
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey, load_private_key, load_public_key
from sealgate.trust.statements import Manifest, Pointer, PointerBundle
from sealgate.trust.statements.covering import INSTANCE_BYTES


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
    """A `VersionLoader`, and all processes in which versions run, as `gateway.sync`
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
        """The signed run counts of each process; nothing is checked here."""
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
        trial = open_trial(config)
        foreign = open_oip(config.foreign_engine, cpu, bounds, trial)
        loader = pool or foreign or LocalLoader(cpu, bounds, config.runtime, trial=trial)
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


class EngineProcess:
    """An engine's listeners: gateways', and that of `[metrics]`."""

    def __init__(
        self, config: EngineConfig, host: EngineHost, replicas: Callable[[], int] | None = None
    ) -> None:
        """Binds them; `replicas` says how many answer, where graphs run in such.

        Raises: ConfigError; SOCKET_EXPOSED.
        """
        self.metrics = EngineMetrics(config.metrics, host.engine, replicas)
        self._server = EngineServer(config, host)
        self.address = self._server.address

    def start(self) -> None:
        self._server.start()
        self.metrics.start()

    def stop(self) -> None:
        """Answer what is in progress, refuse the rest, and end."""
        self.metrics.drain()
        self._server.stop()
        self.metrics.stop()


def build(config: EngineConfig) -> EngineProcess:
    """Binds the listeners and opens what the engine has of its own; `start` begins to answer.

    Raises: ConfigError.
    """
    with reading():
        seen = RollbackGuardFile.open(config.trust.seen)
        engine = open_engine(config, seen, open_loader(config))
        parts = engine, seen, open_files(config), open_tally(config), now, config.limits.deadline
        return EngineProcess(config, EngineHost(*parts))


@contextmanager
def reading() -> Iterator[None]:
    """Names what of the configuration cannot be used. Raises: ConfigError."""
    try:
        yield
    except SealgateError as refusal:
        raise ConfigError(f"{refusal.reason.name}: {refusal.detail}") from refusal
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error


def open_engine(config: EngineConfig, seen: RollbackGuardFile, loader: VersionLoader) -> Engine:
    keys = [load_public_key(path) for path in config.trust.root_keys]
    anchor = TrustAnchor({key.keyid: key for key in keys}, config.trust.threshold)
    return Engine(anchor, seen, now, loader)


def open_loader(config: EngineConfig) -> LocalLoader:
    cpu = CpuSettings.detect(config.runtime.threads_per_run)
    bounds = OperatorBounds(config.batching)
    return LocalLoader(cpu, bounds, config.runtime, trial=open_trial(config))


def open_trial(config: GatewayConfig | EngineConfig) -> TrialLoad | None:
    """The trial of versions, unless it is off. The list of passed versions is kept beside the
    rollback guard's file.
    """
    if not config.runtime.trial:
        return None
    seen = config.trust.seen
    return TrialLoad(passed=seen.with_name(f"{seen.stem}-tried.json"))


def open_files(config: EngineConfig) -> ArtifactStore:
    artifacts = config.artifacts
    return open_store("[artifacts] place", artifacts.place, artifacts.bucket, create=False)


def open_tally(config: EngineConfig) -> RunTally:
    instance = secrets.token_hex(INSTANCE_BYTES)
    return RunTally(config.engine.name, instance, load_private_key(config.engine.key), now)


def build_on_ray(config: EngineConfig) -> EngineProcess:
    """See `engine_process.build`; starts Ray and the replicas, which end with the server.

    Raises: ConfigError.
    """
    if config.runtime.is_on_gpu:
        raise ConfigError("--on ray is for the processor: give each GPU an engine of its own")
    environment = RayEnvironment.make()
    try:
        from inference.backends.ray.fleet import RayFleet
    except ModuleNotFoundError as error:
        environment.remove()
        raise ConfigError(f"--on ray needs {error.name}: pip install '.[ray]'") from error
    make = partial(build_replica, config, environment)
    fleet = RayFleet(config.ray, environment, make, config.limits.deadline)
    try:
        with reading():
            board, bounds = PointerBoard(environment.board), OperatorBounds(config.batching)
            crew = ReplicaGroup(fleet, board, bounds, config.ray.most)
            seen = RollbackGuardFile.open(config.trust.seen)
            engine = open_engine(config, seen, crew)
            files, tally = open_files(config), open_tally(config)
            host = ReplicaFront(crew, engine, seen, files, tally, now, config.limits.deadline)
            return EngineProcess(config, host, fleet.replicas)
    except BaseException:
        fleet.close()
        raise


def build_replica(config: EngineConfig, environment: RayEnvironment) -> Replica:
    """A replica, in its own process; it starts with what the engine in front has seen."""
    configure(config.log)
    seen = RollbackGuardFile.open(config.trust.seen).copy(environment.own_file("seen"))
    engine = open_engine(config, seen, open_loader(config))
    host = EngineHost(engine, seen, open_files(config), None, now, config.limits.deadline)
    return Replica(host, PointerBoard(environment.board))
