"""What `[metrics]` of an engine in a process of its own shows, and the listener for it."""

from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.registry import Collector

from gateway.observability import engine_families as families
from gateway.observability.readiness import Phase
from gateway.observability.samples import Labels, batch_times, faults, filled, ready, sized, timed
from gateway.observability.server import MetricsServer
from inference.batching.limits import BatcherCounts
from inference.engine.engine import Engine
from inference.engine.statistics import VersionStatistics
from sealgate.settings import MetricsSettings


class EngineReadiness:
    """Ready is who listens. An engine that follows nothing yet, or whose policy has expired, must
    be reached all the same: by the gateways that will show it what comes next.
    """

    def __init__(self) -> None:
        self.phase = Phase.STARTING

    def obstacle(self) -> str:
        """Its phase, or nothing where that is no obstacle."""
        return "" if self.phase is Phase.SERVING else self.phase.value


class EngineCollector(Collector):
    """What Prometheus' client asks for the metrics, read from where the work is counted anyway."""

    def __init__(
        self,
        engine: Engine,
        readiness: EngineReadiness,
        replicas: Callable[[], int] | None,
    ) -> None:
        """`replicas` says how many answer, where graphs run in such."""
        self._engine = engine
        self._readiness = readiness
        self._replicas = replicas

    def collect(self) -> Iterable[Metric]:
        """Every family of `engine_families`, in that order."""
        places = self._engine.live()
        lives = {(live.model, str(live.version)): live for live in places.values()}
        reports: dict[Labels, VersionStatistics] = {
            key: live.report() for key, live in lives.items()
        }
        counts: dict[Labels, BatcherCounts] = {
            key: live.ready.counts() for key, live in lives.items()
        }
        waiting = {key: each.waiting for key, each in counts.items()}
        yield filled(families.QUEUE_ROWS, waiting)
        yield timed(families.QUEUE_SECONDS, {key: each.queue for key, each in reports.items()})
        yield filled(families.DROPPED, {key: each.dropped for key, each in counts.items()})
        yield timed(families.BATCH_SECONDS, batch_times(reports))
        yield sized(families.BATCH_ROWS, reports)
        screening = {key: each.screening for key, each in reports.items()}
        yield timed(families.SCREENING_SECONDS, screening)
        inference = {key: each.inference for key, each in reports.items()}
        yield timed(families.INFERENCE_SECONDS, inference)
        yield faults(families.FAULTS, reports)
        sequences = {place: live.sequence for place, live in places.items()}
        yield filled(families.POINTER_SEQUENCE, sequences)
        yield filled(families.VERSION_READY, ready(self._engine))
        replicas = {(): self._replicas()} if self._replicas is not None else {}
        yield filled(families.REPLICAS, replicas)
        yield filled(families.READY, {(): float(not self._readiness.obstacle())})


class EngineMetrics:
    """The listener of an engine's `[metrics]`; nothing where the section is silent."""

    def __init__(
        self,
        settings: MetricsSettings,
        engine: Engine,
        replicas: Callable[[], int] | None = None,
    ) -> None:
        """See `EngineCollector`. Raises: ConfigError where the address cannot be listened on."""
        self._readiness = EngineReadiness()
        self._server: MetricsServer | None = None
        if settings.listen:
            collector = EngineCollector(engine, self._readiness, replicas)
            self._server = MetricsServer(settings, collector, self._readiness)

    @property
    def port(self) -> int | None:
        return self._server.server_port if self._server is not None else None

    def start(self) -> None:
        self._readiness.phase = Phase.SERVING
        if self._server is not None:
            self._server.start()

    def drain(self) -> None:
        self._readiness.phase = Phase.DRAINING

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
