"""Builds an engine of its own process, alone or with replicas on Ray: the place of its parts."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from gateway.config.opening import open_store
from gateway.observability.engine import EngineMetrics
from inference.backends.local import LocalLoader
from inference.backends.ray.engine_host import ReplicaFront, ReplicaGroup
from inference.backends.ray.replica import PointerBoard, RayEnvironment, Replica
from inference.batching.limits import OperatorBounds
from inference.engine.engine import Engine, TrustAnchor, VersionLoader
from inference.engine.rollback_guard import RollbackGuardFile
from inference.runtime.settings import CpuSettings
from inference.server.config import EngineConfig
from inference.server.host import EngineHost, RunTally
from inference.server.server import EngineServer
from registry.storage.artifacts import ArtifactStore
from sealgate.files import read_regular_file
from sealgate.process_log import configure
from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError
from sealgate.steady_clock import now
from sealgate.trust.keys import PublicKey, load_private_key
from sealgate.trust.statements.covering import INSTANCE_BYTES


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
    keys = [PublicKey.from_pem(read_regular_file(path).decode()) for path in config.trust.root_keys]
    anchor = TrustAnchor({key.keyid: key for key in keys}, config.trust.threshold)
    return Engine(anchor, seen, now, loader)


def open_loader(config: EngineConfig) -> LocalLoader:
    cpu = CpuSettings.detect(config.runtime.threads_per_run)
    return LocalLoader(cpu, OperatorBounds(config.batching), config.runtime)


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
    surroundings = RayEnvironment.make()
    try:
        from inference.backends.ray.fleet import RayFleet
    except ModuleNotFoundError as error:
        surroundings.remove()
        raise ConfigError(f"--on ray needs {error.name}: pip install '.[ray]'") from error
    make = partial(build_replica, config, surroundings)
    fleet = RayFleet(config.ray, surroundings, make, config.limits.deadline)
    try:
        with reading():
            board, bounds = PointerBoard(surroundings.board), OperatorBounds(config.batching)
            crew = ReplicaGroup(fleet, board, bounds, config.ray.most)
            seen = RollbackGuardFile.open(config.trust.seen)
            engine = open_engine(config, seen, crew)
            files, tally = open_files(config), open_tally(config)
            host = ReplicaFront(crew, engine, seen, files, tally, now, config.limits.deadline)
            return EngineProcess(config, host, fleet.replicas)
    except BaseException:
        fleet.close()
        raise


def build_replica(config: EngineConfig, surroundings: RayEnvironment) -> Replica:
    """A replica, in its own process; it starts with what the engine in front has seen."""
    configure(config.log)
    seen = RollbackGuardFile.open(config.trust.seen).copy(surroundings.own_file("seen"))
    engine = open_engine(config, seen, open_loader(config))
    host = EngineHost(engine, seen, open_files(config), None, now, config.limits.deadline)
    return Replica(host, PointerBoard(surroundings.board))
