"""`sealgate doctor` on this machine: what it prints goes into the files of an installation."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.config.document import GatewayConfig
from inference.server.config import EngineConfig
from sealgate.cli.main import main
from tests.support.harness.processes import namespaces


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def command(state: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), *words])


def append(state: Path, part: str, *words: str) -> Path:
    path = state / f"{part}.toml"
    result = command(state, "doctor", "--settings", part, *words)
    assert result.exit_code == 0, result.output
    path.write_text(path.read_text() + result.output)
    return path


def test_it_looks_before_there_is_an_installation(state: Path) -> None:
    result = command(state, "doctor")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("tier ")
    assert "[runtime]" in result.output
    assert not state.exists()


def test_for_programs(state: Path) -> None:
    told = json.loads(command(state, "doctor", "--json", "--separate-engine").stdout)
    assert told["tier"] in ("CPU server", "consumer GPU", "data-centre GPU")
    assert set(told["settings"]) == {"gateway", "engine"}


def test_it_says_how_workers_are_confined(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(command(state, "doctor", "--json").stdout)["workers"]
    if namespaces.allowed():
        assert told == "confined"
    monkeypatch.setattr("registry.sandbox.process.missing", lambda: ("names are seen", "no limit"))
    assert "confined, but: names are seen; no limit" in command(state, "doctor").stdout


def test_a_new_installation_takes_what_it_prints(state: Path) -> None:
    assert command(state, "init", "--unencrypted-keys").exit_code == 0
    assert GatewayConfig.read(append(state, "gateway")).runtime.arena_mb > 0


def test_so_does_one_with_an_engine_of_its_own(state: Path) -> None:
    assert command(state, "init", "--unencrypted-keys", "--separate-engine").exit_code == 0
    assert GatewayConfig.read(append(state, "gateway", "--separate-engine")).all_engines
    assert EngineConfig.read(append(state, "engine", "--separate-engine")).runtime.arena_mb > 0


def test_an_engine_file_is_that_of_an_engine_of_its_own(state: Path) -> None:
    result = command(state, "doctor", "--settings", "engine")
    assert result.exit_code == 2
    assert "--separate-engine" in result.output


@pytest.mark.parametrize("built", [True, False])
def test_it_says_what_speaks_grpc(
    state: Path, monkeypatch: pytest.MonkeyPatch, built: bool
) -> None:
    monkeypatch.setattr("gateway.doctor.commands.is_available", lambda: built)
    monkeypatch.setattr("gateway.doctor.commands.version", lambda name: "1.2.3")
    told = json.loads(command(state, "doctor", "--json").stdout)["transport"]
    expected = "native (sealgate-front 1.2.3)" if built else "grpcio: "
    assert told.startswith(expected)
