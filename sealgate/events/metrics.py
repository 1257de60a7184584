"""`/metrics`, `/healthz` and `/readyz` of the events process."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

from sealgate.bounded_http import SECONDS, BoundedServer
from sealgate.settings import ConfigError, MetricsSettings

_TEXT = "text/plain; version=0.0.4; charset=utf-8"

Answer = Callable[[], tuple[int, str]]


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
