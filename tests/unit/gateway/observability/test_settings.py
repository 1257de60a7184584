"""`[metrics]`: off unless configured, and of this machine alone unless stated plainly."""

import pytest

from sealgate.settings import ConfigError, MetricsSettings


def test_nothing_listens_unless_it_is_configured() -> None:
    assert not MetricsSettings().listen


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464),
        ("[::1]:9464", "::1", 9464),
        ("localhost:0", "localhost", 0),
    ],
)
def test_addresses_of_this_machine(listen: str, host: str, port: int) -> None:
    settings = MetricsSettings(listen)
    assert (settings.host, settings.port) == (host, port)


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "metrics:9464"])
def test_addresses_beyond_it_are_refused_unless_stated_plainly(listen: str) -> None:
    with pytest.raises(ConfigError, match="insecure_beyond_loopback = true"):
        MetricsSettings(listen)
    assert MetricsSettings(listen, insecure_beyond_loopback=True).listen == listen


@pytest.mark.parametrize("listen", ["9464", ":9464", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        MetricsSettings(listen, insecure_beyond_loopback=True)


def test_a_permission_without_an_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs listen"):
        MetricsSettings(insecure_beyond_loopback=True)
