"""Builds an engine whose graphs run in replicas on Ray: the one place of its parts, and theirs."""

from functools import partial

from gateway.backends.engine_process import (
    EngineProcess,
    now,
    open_engine,
    open_files,
    open_loader,
    open_tally,
    reading,
)
from inference.backends.ray.environment import PointerBoard, RayEnvironment
from inference.backends.ray.front import ReplicaFront, ReplicaGroup
from inference.backends.ray.replica import Replica
from inference.batching.limits import OperatorBounds
from inference.engine.rollback_guard import RollbackGuardFile
from inference.server.config import EngineConfig
from inference.server.host import EngineHost
from sealgate.process_log import configure
from sealgate.settings import ConfigError


def build(config: EngineConfig) -> EngineProcess:
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
