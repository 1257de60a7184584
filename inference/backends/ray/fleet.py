"""Replicas on Ray Serve. This is the only module that imports Ray.

Import it after `RayEnvironment` is set up. One Ray instance runs on this machine's loopback,
without dashboard and without Serve's own listeners: replicas are reached through this process only.
Nothing that callers send is written to disk: large tensors pass through shared memory, and Ray may
not spill it.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import ray
from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve._private import replica as serve_replica
from ray.serve.config import AutoscalingConfig
from ray.serve.exceptions import RayServeException
from ray.serve.schema import LoggingConfig

from inference.backends.ray.replica import (
    RayEnvironment,
    RemoteRefusal,
    Replica,
    VersionAddress,
    unwrap,
)
from inference.batching import BatchCosts
from inference.engine import InferenceResult
from inference.server.config import RaySettings
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError

_NAME = "engine"
_LOOPBACK = "127.0.0.1"
# The least that Ray takes is 75 MiB.
_SHARED_BYTES = 100 * 1024 * 1024
# In this time a version is loaded, held against its golden answers and warmed.
_LOAD_SECONDS = 100.0
_LOOK_SECONDS = 0.1
_WAYS = 3
# More than a replica is ever handed at once.
_AT_ONCE = 64


class DeployedReplica:
    """A replica in a process of its own, as Ray Serve builds and calls it."""

    def __init__(self, make: Callable[[], Replica]) -> None:
        _keep_to_loopback()
        self._replica = make()

    def follow(self, number: int) -> RemoteRefusal | None:
        return self._replica.follow(number)

    def infer(
        self, number: int, to: VersionAddress, x: npt.NDArray[Any], seconds: float
    ) -> InferenceResult | RemoteRefusal:
        return self._replica.infer(number, to, x, seconds)

    def costs(self, to: VersionAddress) -> BatchCosts | RemoteRefusal:
        return self._replica.costs(to)


class RayFleet:
    """A `ReplicaFleet` on Ray Serve: starts Ray and the replicas. Safe for many threads."""

    def __init__(
        self,
        settings: RaySettings,
        environment: RayEnvironment,
        make: Callable[[], Replica],
        seconds: float,
    ) -> None:
        """`make` builds a replica in its own process; a batch may take `seconds`.

        Raises: ConfigError where Ray does not start, or no replica does.
        """
        self._environment = environment
        self._seconds = seconds
        try:
            _start_ray(settings, environment)
            target = _deployment(settings).bind(make)
            self._handle = serve.run(target, name=_NAME, route_prefix=None)
        # Ray raises Exception itself where its processes are not there in time.
        except Exception as error:
            self.close()
            raise ConfigError(f"replicas do not start on Ray: {error}") from error

    def follow(self, number: int) -> list[RemoteRefusal | None]:
        end = time.monotonic() + self._seconds
        while True:
            response = self._handle.broadcast("follow", number)
            try:
                found = response.results(timeout_s=_LOAD_SECONDS, return_exceptions=True)
            except (RayError, RayServeException, TimeoutError):
                found = []
            said = [each for each in found if not isinstance(each, Exception)]
            # Where none is there, one is on its way.
            if said or time.monotonic() > end:
                return said
            time.sleep(_LOOK_SECONDS)

    def infer(self, number: int, to: VersionAddress, x: npt.NDArray[Any]) -> InferenceResult:
        end = time.monotonic() + self._seconds
        while (left := end - time.monotonic()) > 0:
            try:
                response = self._handle.infer.remote(number, to, x, left)
                said: InferenceResult | RemoteRefusal = response.result(timeout_s=left)
                return unwrap(said)
            except RayActorError:
                # The replica is gone and its result was never delivered: another replica runs it.
                time.sleep(_LOOK_SECONDS)
            except TimeoutError:
                break
            except (RayError, RayServeException) as error:
                raise SealgateError(Reason.ENGINE_UNAVAILABLE, f"a replica: {error}") from error
        raise SealgateError(Reason.ENGINE_UNAVAILABLE, "no replica answers in time")

    def costs(self, to: VersionAddress) -> BatchCosts:
        try:
            found = unwrap(self._handle.costs.remote(to).result(timeout_s=_LOAD_SECONDS))
            ways = [self._way() for _ in range(_WAYS)]
        except (RayError, RayServeException, TimeoutError) as error:
            raise SealgateError(Reason.ENGINE_UNAVAILABLE, f"a replica: {error}") from error
        there = min(ways)
        return BatchCosts(
            tuple((rows, seconds + there) for rows, seconds in found.batches), found.lanes
        )

    def replicas(self) -> int:
        """How many there are that answer."""
        deployments = serve.status().applications[_NAME].deployments.values()
        return sum(each.replica_states.get("RUNNING", 0) for each in deployments)

    def close(self) -> None:
        serve.shutdown()
        ray.shutdown()
        self._environment.remove()

    def _way(self) -> float:
        """The seconds of a call that does nothing."""
        begun = time.monotonic()
        self._handle.follow.remote(0).result(timeout_s=self._seconds)
        return time.monotonic() - begun


def _keep_to_loopback() -> None:
    """Serve has each replica listen on all of the machine's addresses, for calls from deployments
    that we do not have, and has no setting for it. It asks for the port once this is set.
    """
    listen = serve_replica.add_port_to_grpc_server
    serve_replica.add_port_to_grpc_server = lambda server, _: listen(server, f"{_LOOPBACK}:0")


def _start_ray(settings: RaySettings, environment: RayEnvironment) -> None:
    ray.init(
        address="local",
        num_cpus=settings.most,
        num_gpus=0,
        object_store_memory=_SHARED_BYTES,
        include_dashboard=False,
        configure_logging=False,
        _node_ip_address=_LOOPBACK,
        _temp_dir=str(environment.folder / "ray"),
        # Ray would have whatever else the machine does go before a replica.
        _system_config={"automatic_object_spilling_enabled": False, "worker_niceness": 0},
    )
    serve.start(proxy_location="Disabled", logging_config=_logging())


def _deployment(settings: RaySettings) -> Any:
    scaling = AutoscalingConfig(
        min_replicas=settings.least,
        initial_replicas=settings.least,
        max_replicas=settings.most,
        target_ongoing_requests=settings.batches,
        metrics_interval_s=0.5,
        look_back_period_s=2.0,
        upscale_delay_s=settings.grow_after,
        downscale_delay_s=settings.shrink_after,
    )
    return serve.deployment(
        name="replica",
        autoscaling_config=scaling,
        max_ongoing_requests=_AT_ONCE,
        ray_actor_options={"num_cpus": 1},
        health_check_period_s=2.0,
        logging_config=_logging(),
    )(DeployedReplica)


def _logging() -> LoggingConfig:
    return LoggingConfig(log_level="WARNING", enable_access_log=False)
