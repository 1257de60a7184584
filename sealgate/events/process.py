"""The events process: its parts, put together from `events.toml`, and its metrics over HTTP."""

import fcntl
import socket
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from sealgate import steady_clock
from sealgate.events.checks import EventChecks
from sealgate.events.cloud_events import CloudEvent
from sealgate.events.config import EventsConfig
from sealgate.events.delivery import Deliveries
from sealgate.events.registry_events import RegistryEvents
from sealgate.events.store import EventStore
from sealgate.events.webhooks import Webhook
from sealgate.network.metrics_listener import MetricsListener
from sealgate.settings import ConfigError

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def seconds() -> float:
    """The time that deliveries go by, in seconds of the epoch.

    After a jump of the system's time, what waits would be given up at once, and receivers would
    refuse what is signed.
    """
    return steady_clock.now().timestamp()


def open_store(config: EventsConfig, clock: Callable[[], float] = seconds) -> EventStore:
    """Raises: ConfigError for a database that cannot be used."""
    try:
        return EventStore(config.state.database, clock)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"[state] database = {config.state.database}: {error}") from error


def _locked(config: EventsConfig) -> IO[bytes]:
    """A file that one process has at a time: two would deliver everything twice, out of order.

    Raises: ConfigError.
    """
    path = config.state.database.with_name(f"{config.state.database.name}.lock")
    try:
        file = path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(f"[state] database = {config.state.database}: in use already") from None
    except OSError as error:
        raise ConfigError(f"[state] database: {error}") from error
    return file


class EventsProcess:
    """Follows, looks and delivers between `start` and `stop`."""

    def __init__(self, config: EventsConfig, start: int | None = None) -> None:
        """With `start`, the registry's log is followed from that entry on. Raises: ConfigError."""
        if not config.destinations:
            raise ConfigError("[[destinations]] is missing: nothing would be told to anybody")
        self._config = config
        webhooks = [
            Webhook.open(config, settings, seconds, socket.getaddrinfo)
            for settings in config.destinations
        ]
        self._lock = _locked(config)
        self.store = open_store(config)
        self.deliveries = Deliveries(self.store, webhooks, config.delivery, seconds)
        source = config.gateway
        self.registry = RegistryEvents(
            source.profile,
            self.store,
            self._keep,
            from_beginning=source.from_beginning,
            most_waiting=config.state.most_waiting,
            start=start,
        )
        self.checks = EventChecks(
            source.profile,
            self.store,
            self._keep,
            config.checks,
            from_beginning=source.from_beginning,
            clock=steady_clock.now,
        )
        metrics = EventMetrics(self.store.counts, self.deliveries.results, self._failing)
        self.metrics = MetricsListener(config.metrics, metrics.numbers, metrics.obstacle)

    def start(self) -> None:
        self.deliveries.start()
        self.registry.start()
        self.checks.start()
        self.metrics.start()

    def stop(self) -> None:
        self.metrics.stop()
        self.checks.stop()
        self.registry.stop()
        self.deliveries.stop()
        self.store.close()
        self._lock.close()

    def _failing(self) -> dict[str, str]:
        log = {"log": self.registry.failing} if self.registry.failing else {}
        return log | self.checks.failing

    def _keep(self, events: Sequence[CloudEvent], remembered: Sequence[tuple[str, str]]) -> None:
        routed = [(event, self._wanted(event)) for event in events]
        self.store.add(routed, remembered)
        for event, wanted in routed:
            self.deliveries.wake(wanted, event.model)

    def _wanted(self, event: CloudEvent) -> list[str]:
        destinations = self._config.destinations
        return [each.name for each in destinations if each.wants(event.kind, event.model)]


class EventMetrics:
    """Counts, as text for Prometheus. Values are read when somebody asks."""

    def __init__(
        self,
        counts: Callable[[], dict[tuple[str, str], int]],
        attempts: Callable[[], dict[tuple[str, str], int]],
        failing: Callable[[], dict[str, str]],
    ) -> None:
        """`counts` and `attempts` are by destination, and state or result; `failing` says of each
        part that fails why.
        """
        self._counts = counts
        self._attempts = attempts
        self._failing = failing

    def numbers(self, _accept: str) -> tuple[bytes, str]:
        """The metrics and their media type."""
        return "\n".join([*self._lines(), ""]).encode(), _TEXT

    def obstacle(self) -> str:
        """The failing parts and their causes, a line a part."""
        return "\n".join(f"{part}: {why}" for part, why in self._failing().items())

    def _lines(self) -> Iterator[str]:
        yield "# HELP sealgate_events_deliveries Deliveries that wait, and dead letters"
        yield "# TYPE sealgate_events_deliveries gauge"
        for (destination, state), number in sorted(self._counts().items()):
            labels = f'destination="{destination}",state="{state}"'
            yield f"sealgate_events_deliveries{{{labels}}} {number}"
        yield "# HELP sealgate_events_attempts_total Attempts by how they ended"
        yield "# TYPE sealgate_events_attempts_total counter"
        for (destination, result), number in sorted(self._attempts().items()):
            labels = f'destination="{destination}",result="{result}"'
            yield f"sealgate_events_attempts_total{{{labels}}} {number}"
        yield "# HELP sealgate_events_failing Parts that fail now: the log, or looks at gateways"
        yield "# TYPE sealgate_events_failing gauge"
        yield f"sealgate_events_failing {len(self._failing())}"
