"""The certificates of a gateway and its engine change while both run, and no call is lost."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from inference.backends.remote.endpoint import TlsEndpoint
from inference.backends.remote.remote_engine import RemoteEngine
from inference.server.config import (
    ArtifactLocation,
    EngineConfig,
    EngineIdentity,
    EngineTlsFiles,
    EngineTrustFiles,
    ListenAddress,
)
from inference.server.server import EngineServer
from sealgate.reasons import SealgateError
from sealgate.setup.credentials import Certificate, CertificateAuthority
from tests.support.harness.engine import EngineHarness
from tests.support.harness.gateway import now

AUTHORITY = CertificateAuthority("engines", now(), timedelta(days=1))


def engine_certificate() -> Certificate:
    return AUTHORITY.server("engine", ("engine", "127.0.0.1"))


def put(path: Path, data: bytes) -> None:
    """Another file takes the place of this one."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


def own(folder: Path, name: str, made: Certificate) -> None:
    put(folder / f"{name}.key", made.key)
    put(folder / f"{name}.pem", made.certificate)


@dataclass
class Pair:
    """An engine that listens with TLS, and a gateway's end, each with its own folder of files."""

    folder: Path
    server: EngineServer
    remote: RemoteEngine

    def answers(self, remote: RemoteEngine | None = None) -> bool:
        """Whether the engine answers, be it that it has not the model."""
        try:
            (remote or self.remote).counts()
        except SealgateError:
            return False
        return True

    def newcomer(self) -> RemoteEngine:
        """Another gateway with the same files."""
        files = (self.folder / name for name in ("engine-pin.pem", "gateway.pem", "gateway.key"))
        return RemoteEngine(TlsEndpoint(self.server.address, *files))


@pytest.fixture
def pair(harness: EngineHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr("inference.backends.remote.remote_engine.ASK_SECONDS", 60.0)
    engine, gateway = engine_certificate(), AUTHORITY.caller("gateway")
    own(tmp_path, "engine", engine)
    own(tmp_path, "gateway", gateway)
    put(tmp_path / "engine-pin.pem", engine.certificate)
    put(tmp_path / "gateway-pin.pem", gateway.certificate)
    config = EngineConfig(
        listen=ListenAddress(tls="127.0.0.1:0"),
        trust=EngineTrustFiles((tmp_path / "root.pem",), 1, tmp_path / "seen.json"),
        artifacts=ArtifactLocation(harness.artifacts),
        engine=EngineIdentity("engine", tmp_path / "engine.key"),
        tls=EngineTlsFiles(
            tmp_path / "engine.pem", tmp_path / "engine.key", (tmp_path / "gateway-pin.pem",)
        ),
    )
    server = EngineServer(config, harness.host)
    server.start()
    files = (tmp_path / name for name in ("engine-pin.pem", "gateway.pem", "gateway.key"))
    gateway_end = RemoteEngine(TlsEndpoint(server.address, *files))
    yield Pair(tmp_path, server, gateway_end)
    gateway_end.close()
    server.stop()


def test_both_ends_change_and_no_call_is_lost(pair: Pair) -> None:
    """In the order that docs/how-to/deploy.md has."""
    assert pair.answers()
    made = {"engine": engine_certificate(), "gateway": AUTHORITY.caller("gateway")}
    old = (pair.folder / "gateway.pem").read_bytes(), (pair.folder / "gateway.key").read_bytes()
    for name, each in made.items():
        pin = pair.folder / f"{name}-pin.pem"
        put(pin, pin.read_bytes() + each.certificate)
        assert pair.answers()
    for name, each in made.items():
        own(pair.folder, name, each)
        assert pair.answers()
    pair.remote.probe()
    assert pair.answers()
    for name, each in made.items():
        put(pair.folder / f"{name}-pin.pem", each.certificate)
    pair.remote.probe()
    assert pair.answers()
    newcomer = pair.newcomer()
    assert pair.answers(newcomer)
    newcomer.close()
    own(pair.folder, "gateway", Certificate(*old))
    stranger = pair.newcomer()
    assert not pair.answers(stranger)
    stranger.close()


def test_who_is_pinned_no_more_is_refused_where_it_is(pair: Pair) -> None:
    assert pair.answers()
    put(pair.folder / "gateway-pin.pem", AUTHORITY.caller("another").certificate)
    assert not pair.answers()


def test_files_that_cannot_be_used_change_nothing(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    assert pair.answers()
    with caplog.at_level(logging.ERROR):
        put(pair.folder / "gateway-pin.pem", b"nothing")
        put(pair.folder / "gateway.key", engine_certificate().key)
        pair.remote.probe()
        assert pair.answers()
    assert caplog.text.count("the previous certificates stay in use") == 2
