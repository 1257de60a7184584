"""The events process: its parts, put together from `events.toml`, and its metrics over HTTP."""

import fcntl
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from typing import IO

from sealgate.bounded_http import SECONDS, BoundedServer
from sealgate.events.checks import EventChecks
from sealgate.events.cloud_events import CloudEvent
from sealgate.events.config import EventsConfig
from sealgate.events.delivery import Deliveries
from sealgate.events.registry_events import RegistryEvents
from sealgate.events.store import EventStore
from sealgate.events.webhooks import Webhook
from sealgate.settings import ConfigError, MetricsSettings

_TEXT = "text/plain; version=0.0.4; charset=utf-8"

Answer = Callable[[], tuple[int, str]]


def open_store(config: EventsConfig, clock: Callable[[], float] = time.time) -> EventStore:
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
            Webhook.open(config, settings, time.time, socket.getaddrinfo)
            for settings in config.destinations
        ]
        self._lock = _locked(config)
        self.store = open_store(config)
        self.deliveries = Deliveries(self.store, webhooks, config.delivery)
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
        )
        metrics = EventMetrics(self.store.counts, self.deliveries.results, self._failing)
        self.metrics = EventMetricsServer(config.metrics, metrics)

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

    def answers(self) -> dict[str, Answer]:
        """What each path answers."""
        return {
            "/metrics": lambda: (200, "\n".join([*self._lines(), ""])),
            "/healthz": lambda: (200, "ok\n"),
            "/readyz": self._ready,
        }

    def _ready(self) -> tuple[int, str]:
        failing = self._failing()
        told = "".join(f"{part}: {why}\n" for part, why in failing.items())
        return (503, told) if failing else (200, "ready\n")

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


class EventMetricsServer:
    """The listener, where `[metrics]` has one; `port` is None elsewhere."""

    def __init__(self, settings: MetricsSettings, metrics: EventMetrics) -> None:
        """Raises: ConfigError for an address that cannot be listened on."""
        self._server: BoundedServer | None = None
        self.port: int | None = None
        if settings.listen:
            try:
                handler = _handler(metrics.answers())
                self._server = BoundedServer(settings.host, settings.port, handler)
            except OSError as error:
                raise ConfigError(f"[metrics] listen: {error.strerror}") from error
            self.port = int(self._server.server_address[1])

    def start(self) -> None:
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _handler(answers: dict[str, Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SECONDS
        server_version = "sealgate-events"
        sys_version = ""

        def do_GET(self) -> None:
            answer = answers.get(self.path)
            status, text = answer() if answer else (404, "not found\n")
            data = text.encode()
            self.send_response(status)
            self.send_header("content-type", _TEXT)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    return Handler
