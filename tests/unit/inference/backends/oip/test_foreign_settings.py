"""The section `[foreign_engine]`: loopback or TLS, and names without tricks."""

from pathlib import Path
from typing import Any

import pytest

from inference.backends.oip.foreign_server import OipSettings
from sealgate.settings import ConfigError

LOCAL = "127.0.0.1:8081"


def test_without_an_address_there_is_none() -> None:
    assert OipSettings().address == ""


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, ("digits", "3")),
        ({"version": ""}, ("digits", "")),
        ({"model": "{model}-v{version}", "version": "1"}, ("digits-v3", "1")),
        ({"model": "team {{a}} {model}"}, ("team {a} digits", "3")),
    ],
)
def test_what_the_server_calls_a_version(settings: dict[str, str], named: tuple[str, str]) -> None:
    assert OipSettings(LOCAL, **settings).named("digits", 3) == named


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"address": "10.0.0.1:8081"}, "authority, for TLS"),
        ({"address": "models.example:8081"}, "authority, for TLS"),
        ({"address": "127.0.0.1"}, "host:port"),
        ({"certificate": Path("own.pem"), "authority": Path("a.pem")}, "given together"),
        ({"certificate": Path("own.pem"), "key": Path("own.key")}, "needs authority"),
        ({"model": "digits"}, "must hold"),
        ({"model": "{model.__class__}"}, "alone"),
        ({"model": "{model!r}"}, "alone"),
        ({"model": "{model:>9}"}, "alone"),
        ({"model": "{0}"}, "alone"),
        ({"model": "{"}, "alone"),
        ({"version": "{alias}"}, "alone"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"tolerance": 0.5}, "tolerance"),
        ({"timeout": 0.0}, "timeout"),
        ({"lanes": 0}, "lanes"),
        ({"name": ""}, "name"),
        ({"name": 'mine", digest checked'}, "name"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OipSettings(**({"address": LOCAL} | settings))


def test_another_machine_needs_tls() -> None:
    assert OipSettings("models.example:8081", authority=Path("a.pem")).authority
