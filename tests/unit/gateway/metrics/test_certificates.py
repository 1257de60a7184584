"""When certificates expire, by where they are configured."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.engine_settings import EngineSettings
from gateway.metrics.certificates import expiries
from gateway.settings import Tls
from sealgate.settings import ConfigError
from sealgate.setup.certificates import Authority

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pem(path: Path, *days: int) -> Path:
    """A file with a certificate for each of some lifetimes."""
    chain = [Authority("someone", NOW, timedelta(days=each)).pem for each in days]
    path.write_bytes(b"".join(chain))
    return path


def config(tls: Tls, *engines: EngineSettings) -> SimpleNamespace:
    return SimpleNamespace(tls=tls, all_engines=engines)


def test_a_chain_ends_with_the_first_of_its_certificates(tmp_path: Path) -> None:
    tls = Tls(pem(tmp_path / "chain.pem", 90, 30), tmp_path / "key.pem")
    assert expiries(config(tls)) == {"tls": NOW + timedelta(days=30)}


def test_engines_are_told_apart_by_name(tmp_path: Path) -> None:
    own, ours = pem(tmp_path / "engine.pem", 10), pem(tmp_path / "ours.pem", 20)
    key = tmp_path / "ours.key"
    engine = EngineSettings("fast", None, "10.0.0.1:1", own, ours, key)
    assert expiries(config(Tls(), engine)) == {
        "fast: certificate": NOW + timedelta(days=10),
        "fast: client_certificate": NOW + timedelta(days=20),
    }


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_what_is_no_certificate_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "gateway.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"gateway\.pem"):
        expiries(config(Tls(path)))
