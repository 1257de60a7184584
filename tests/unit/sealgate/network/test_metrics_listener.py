"""The metrics listener: its address, and HEAD requests."""

import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry

from gateway.observability.readiness import metrics_listener
from gateway.transport.http.operations import find
from sealgate.network.metrics_listener import MetricsListener
from sealgate.settings import ConfigError, MetricsSettings


def test_an_address_that_is_taken_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = MetricsSettings(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match="cannot listen on"):
            metrics_listener(settings, CollectorRegistry(), str)


@pytest.fixture
def listener(word: str) -> Iterator[MetricsListener]:
    settings = MetricsSettings("127.0.0.1:0")
    listener = metrics_listener(settings, CollectorRegistry(), lambda: word)
    listener.start()
    yield listener
    listener.stop()


def test_the_http_listener_answers_head() -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"):
        way = find("GET", path)
        assert way is not None
        assert find("HEAD", path) == way
    assert find("HEAD", "/v2/models/m/infer") is None


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nothing"])
@pytest.mark.parametrize("word", ["", "draining"])
def test_the_metrics_listener_answers_head_without_a_body(
    listener: MetricsListener, path: str
) -> None:
    seen = {}
    for verb in ("GET", "HEAD"):
        connection = HTTPConnection("127.0.0.1", listener.port, timeout=60)
        connection.request(verb, path)
        response = connection.getresponse()
        seen[verb] = response.status, response.getheader("content-length")
        body = response.read()
        connection.close()
    assert seen["HEAD"] == seen["GET"]
    assert body == b""
