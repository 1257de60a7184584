"""What keeps the listener from starting."""

import socket

import pytest
from prometheus_client import CollectorRegistry

from gateway.observability.server import MetricsServer
from sealgate.metrics_settings import MetricsSettings
from sealgate.settings import ConfigError


def test_an_address_that_is_taken_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = MetricsSettings(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match="cannot listen on"):
            MetricsServer(settings, CollectorRegistry(), None)
