"""What Ray gets around it, and what a start without Ray comes to."""

import os
import sys
from pathlib import Path

import pytest

from gateway import backends
from inference.backends.ray.replica import RayEnvironment
from inference.runtime.settings import RuntimeSettings
from inference.server.config import EngineConfig, RaySettings
from sealgate.settings import ConfigError
from sealgate.setup.configuration import EnginePlace
from tests.support.harness.gateway import GatewayHarness


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set Ray's variables as another user would, and put temporary folders into the test's own."""
    for name in list(os.environ):
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "somebody's")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_nobody_else_can_read_the_token_and_each_start_has_its_own() -> None:
    first, second = RayEnvironment.make(), RayEnvironment.make()
    assert first.folder.stat().st_mode & 0o777 == 0o700
    token = first.folder / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert len(token.read_text()) == 64
    assert token.read_text() != (second.folder / "token").read_text()
    first.remove()
    assert not first.folder.exists()


def test_settings_of_whoever_started_us_are_not_for_our_ray() -> None:
    found = RayEnvironment.make()
    ours = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    assert ours["RAY_AUTH_MODE"] == "token"
    assert ours["RAY_AUTH_TOKEN_PATH"] == str(found.folder / "token")
    assert ours["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "somebody's" not in ours.values()


@pytest.mark.parametrize("bad", [{"least": 0}, {"least": 3}, {"most": 65}, {"least": 2, "most": 1}])
def test_numbers_of_replicas_that_cannot_be(bad: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"\[ray\]"):
        RaySettings(**bad)


class TestStart:
    @pytest.fixture
    def config(self, tmp_path: Path) -> EngineConfig:
        GatewayHarness(tmp_path / "state", engine=EnginePlace())
        return EngineConfig.read(tmp_path / "state" / "engine.toml")

    def test_without_ray_it_says_what_to_install(
        self, config: EngineConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(ConfigError, match=r"pip install '\.\[ray\]'"):
            backends.build_on_ray(config)
        assert not list(tmp_path.glob("sealgate-*"))

    def test_a_gpu_is_for_an_engine_of_its_own(self, config: EngineConfig) -> None:
        gpu = EngineConfig(
            config.listen,
            config.trust,
            config.artifacts,
            config.engine,
            runtime=RuntimeSettings(provider="cuda"),
        )
        with pytest.raises(ConfigError, match="each GPU an engine"):
            backends.build_on_ray(gpu)
