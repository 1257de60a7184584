"""HTTP listener of `[metrics]`: numbers for Prometheus, and `/healthz` and `/readyz`."""

from collections.abc import Callable
from http import HTTPStatus

from sealgate.network.bounded_http import BoundedHandler, BoundedServer
from sealgate.settings import ConfigError, MetricsSettings

_TEXT = "text/plain; charset=utf-8"

Numbers = Callable[[str], tuple[bytes, str]]
"""The metrics and their media type, for what a request accepts."""


class MetricsListener:
    """Binds the address of `[metrics]` at once, and answers between `start` and `stop`. Where the
    section is silent, `port` is None and nothing listens.
    """

    def __init__(
        self, settings: MetricsSettings, numbers: Numbers, obstacle: Callable[[], str]
    ) -> None:
        """`obstacle` says why the process is not ready; it is empty where it is. Raises:
        ConfigError where the address cannot be listened on.
        """
        self._server: _Server | None = None
        self.port: int | None = None
        if settings.listen:
            self._server = _Server(settings, numbers, obstacle)
            self.port = self._server.server_port

    def start(self) -> None:
        if self._server is not None:
            self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()


class _Server(BoundedServer):
    def __init__(
        self, settings: MetricsSettings, numbers: Numbers, obstacle: Callable[[], str]
    ) -> None:
        self.numbers = numbers
        self.obstacle = obstacle
        try:
            super().__init__(settings.host, settings.port, _Handler)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on [metrics] listen = {settings.listen!r}: {error.strerror}"
            ) from error


class _Handler(BoundedHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self.send(HTTPStatus.OK, *self.server.numbers(self.headers.get("accept", "")))
        elif self.path == "/healthz":
            # An answer here shows that the process lives; restarting would not mend other faults.
            self.send(HTTPStatus.OK, b"ok\n", _TEXT)
        elif self.path == "/readyz":
            obstacle = self.server.obstacle()
            status = HTTPStatus.SERVICE_UNAVAILABLE if obstacle else HTTPStatus.OK
            self.send(status, f"{obstacle or 'ready'}\n".encode(), _TEXT)
        else:
            self.send(HTTPStatus.NOT_FOUND, b"here are /metrics, /healthz and /readyz\n", _TEXT)

    def do_HEAD(self) -> None:
        self.do_GET()
