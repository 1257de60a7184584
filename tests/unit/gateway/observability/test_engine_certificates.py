"""Metrics show when engine certificates end, as their files say now."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.config.document import EngineSettings, GeneratorSettings
from gateway.observability.certificates import Certificates
from sealgate.setup.credentials import CertificateAuthority

NOW = datetime.now(UTC).replace(microsecond=0)
ENDS = ("certificate", "client_certificate")


def pem(*days: int) -> bytes:
    """A certificate for each of some lifetimes."""
    return b"".join(CertificateAuthority("someone", NOW, timedelta(days=each)).pem for each in days)


def put(path: Path, data: bytes) -> None:
    """Another file takes the place of this one."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    def way(kind: Any, name: str) -> Any:
        files = [tmp_path / f"{name}-{end}" for end in ("theirs.pem", "ours.pem", "ours.key")]
        for path in files[:2]:
            path.write_bytes(pem(10))
        return kind(name, None, "10.0.0.1:1", *files)

    config: Any = SimpleNamespace(
        all_engines=(way(EngineSettings, "fast"),), generator=way(GeneratorSettings, "writer")
    )
    return Certificates(None, config)


def days(certificates: Certificates) -> dict[str, int]:
    return {name: (end - NOW).days for name, end in certificates.expiries().items()}


def test_the_metric_follows_the_files(certificates: Certificates, tmp_path: Path) -> None:
    told = {f"{way}: {end}": 10 for way in ("fast", "[generator]") for end in ENDS}
    assert days(certificates) == told
    # Old and new beside one another, as while a peer's is being replaced.
    put(tmp_path / "fast-theirs.pem", pem(10, 90))
    put(tmp_path / "writer-ours.pem", pem(3))
    told["[generator]: client_certificate"] = 3
    assert days(certificates) == told
    put(tmp_path / "fast-theirs.pem", pem(90))
    told["fast: certificate"] = 90
    assert days(certificates) == told


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_an_unreadable_file_changes_nothing(
    certificates: Certificates, tmp_path: Path, content: bytes | None
) -> None:
    before = days(certificates)
    path = tmp_path / "fast-ours.pem"
    if content is None:
        path.unlink()
    else:
        put(path, content)
    assert days(certificates) == before
    put(path, pem(20))
    assert days(certificates) == {**before, "fast: client_certificate": 20}
