"""`[http]`: off unless it is asked for, and nothing in clear beyond this machine."""

import pytest

from gateway.config.document import GatewayConfig
from gateway.config.optional_sections import HttpSettings
from sealgate.settings import ConfigError
from tests.unit.gateway.config.test_document import GOOD, read


def test_nothing_listens_by_itself(tmp_path) -> None:
    http = read(tmp_path, GOOD).http
    assert (http.tls, http.insecure) == ("", "")


@pytest.mark.parametrize(
    "line", ['tls = "0.0.0.0:8445"', 'insecure = "127.0.0.1:8080"', 'insecure = "[::1]:8080"']
)
def test_what_may_be_listened_on(tmp_path, line: str) -> None:
    assert isinstance(read(tmp_path, f"{GOOD}\n[http]\n{line}\n"), GatewayConfig)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('insecure = "0.0.0.0:80"', "without TLS beyond this machine"),
        ('insecure = "[::]:80"', "without TLS beyond this machine"),
        ('insecure = "gateway.example:80"', "use 127.0.0.1"),
        ('tls = "127.0.0.1"', "host:port"),
        ('tls = ":8445"', "host:port"),
        ('tls = "127.0.0.1:port"', "host:port"),
        ('tls = "127.0.0.1:65536"', "host:port"),
        ('listen = "127.0.0.1:80"', "no setting 'listen'"),
        ("tls = 8445", "must be of type str"),
    ],
)
def test_what_may_not(tmp_path, line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, f"{GOOD}\n[http]\n{line}\n")


def without(text: str, *parts: str) -> str:
    for part in parts:
        assert part in text
        text = text.replace(part, "")
    return text


def test_tls_needs_a_certificate(tmp_path) -> None:
    clear = GOOD.replace(
        'tls = "127.0.0.1:8443"\nmutual = "127.0.0.1:8444"', 'insecure = "[::1]:1"'
    )
    text = without(clear, 'key = "gateway.key"\n') + '\n[http]\ntls = "127.0.0.1:1"\n'
    with pytest.raises(ConfigError, match=r"\[http\] tls"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "authority", "fine"),
    [
        ('tls = "127.0.0.1:1"', True, True),
        ('tls = "127.0.0.1:1"', False, False),
        ('insecure = "127.0.0.1:1"', True, False),
    ],
)
def test_somebody_must_be_able_to_authenticate(
    tmp_path, line: str, authority: bool, fine: bool
) -> None:
    http = HttpSettings(**dict([line.replace('"', "").split(" = ")]))
    if fine:
        http.check(pair=True, certificates=authority, bearers=False)
        return
    with pytest.raises(ConfigError, match="nobody could authenticate"):
        http.check(pair=True, certificates=authority, bearers=False)
