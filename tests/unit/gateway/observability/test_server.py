"""What keeps the listener from starting."""

import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.observability.server import MetricsServer
from gateway.transport.http.operations import find
from sealgate.settings import ConfigError, MetricsSettings


def test_an_address_that_is_taken_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = MetricsSettings(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match="cannot listen on"):
            MetricsServer(settings, CollectorRegistry(), None)


@pytest.fixture
def listener() -> Iterator[MetricsServer]:
    readiness: Any = SimpleNamespace(word="", obstacle=lambda: readiness.word)
    server = MetricsServer(MetricsSettings("127.0.0.1:0"), CollectorRegistry(), readiness)
    server.start()
    yield server
    server.stop()


def test_the_http_listener_answers_head() -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"):
        way = find("GET", path)
        assert way is not None
        assert find("HEAD", path) == way
    assert find("HEAD", "/v2/models/m/infer") is None


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nothing"])
@pytest.mark.parametrize("word", ["", "draining"])
def test_the_metrics_listener_answers_head_without_a_body(
    listener: MetricsServer, path: str, word: str
) -> None:
    readiness: Any = listener.readiness
    readiness.word = word
    seen = {}
    for verb in ("GET", "HEAD"):
        connection = HTTPConnection("127.0.0.1", listener.server_port, timeout=60)
        connection.request(verb, path)
        response = connection.getresponse()
        seen[verb] = response.status, response.getheader("content-length")
        body = response.read()
        connection.close()
    assert seen["HEAD"] == seen["GET"]
    assert body == b""
