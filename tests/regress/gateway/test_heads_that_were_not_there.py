"""Balancers and `wget --spider` ask how a gateway is by HEAD. The HTTP door answered 404, and the
listener of metrics 501, so both took one that was well for broken.
"""

from collections.abc import Iterator
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.observability.server import MetricsServer
from gateway.transport.http.routes import find
from sealgate.metrics_settings import MetricsSettings


@pytest.fixture
def listener() -> Iterator[MetricsServer]:
    readiness: Any = SimpleNamespace(word="", obstacle=lambda: readiness.word)
    server = MetricsServer(MetricsSettings("127.0.0.1:0"), CollectorRegistry(), readiness)
    server.start()
    yield server
    server.stop()


def test_the_door_knows_the_way() -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"):
        way = find("GET", path)
        assert way is not None
        assert find("HEAD", path) == way
    assert find("HEAD", "/v2/models/m/infer") is None


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nothing"])
@pytest.mark.parametrize("word", ["", "draining"])
def test_the_listener_answers_without_a_body(listener: MetricsServer, path: str, word: str) -> None:
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
