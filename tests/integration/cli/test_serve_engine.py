"""`sealgate serve engine` on the command line, and the installation made for it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from demo.stage import free_ports
from gateway.config.document import GatewayConfig
from inference.server.config import EngineConfig
from sealgate.cli.main import main
from sealgate.setup.configuration import EnginePlace
from tests.support.harness.gateway import GatewayHarness, question, rows
from tests.support.harness.processes.engine_process import EngineProcess


def command(state: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), *words])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    result = command(state, "init", "--unencrypted-keys", "--separate-engine")
    assert result.exit_code == 0, result.output
    assert f"sealgate --state {state} serve engine" in result.output
    return state


def test_both_ends_name_the_same_socket(state: Path) -> None:
    engine = EngineConfig.read(state / "engine.toml")
    assert GatewayConfig.read(state / "gateway.toml").engine.socket == engine.listen.socket


def test_another_installation_has_no_engine_of_its_own(tmp_path: Path) -> None:
    assert command(tmp_path / "plain", "init", "--unencrypted-keys").exit_code == 0
    assert GatewayConfig.read(tmp_path / "plain" / "gateway.toml").engine.socket is None
    result = command(tmp_path / "plain", "serve", "engine")
    assert result.exit_code == 1
    assert "cannot read" in result.output


def test_both_ends_pin_each_other_at_an_address(tmp_path: Path) -> None:
    state = tmp_path / "state"
    address = f"127.0.0.1:{free_ports()}"
    result = command(state, "init", "--unencrypted-keys", "--engine-address", address)
    assert result.exit_code == 0, result.output
    assert "tls/engine-client.pem" in result.output
    engine = EngineConfig.read(state / "engine.toml")
    gateway = GatewayConfig.read(state / "gateway.toml").engine
    assert (engine.listen.tls, gateway.address) == (address, address)
    assert (gateway.certificate, gateway.client_certificate) == (
        engine.tls.certificate,
        engine.tls.gateways[0],
    )


def test_engine_and_gateway_meet_as_they_were_set_up(tmp_path: Path) -> None:
    state = tmp_path / "state"
    harness = GatewayHarness(state, engine=EnginePlace(f"127.0.0.1:{free_ports()}"))
    engine = EngineProcess(state)
    engine.start()
    try:
        harness.start()
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        answer = harness.inference().ModelInfer(question("digits", rows()), timeout=60)
        assert answer.model_version == "1"
    finally:
        harness.stop()
        engine.stop()


@pytest.mark.parametrize("address", ["engine.internal", ":9443", "engine.internal:https"])
def test_an_address_of_another_form(tmp_path: Path, address: str) -> None:
    result = command(tmp_path / "state", "init", "--unencrypted-keys", "--engine-address", address)
    assert result.exit_code == 2
    assert "not of the form host:port" in result.output


def test_an_engine_refuses_a_folder_that_others_may_write_to(state: Path) -> None:
    (state / "engine").chmod(0o777)
    result = command(state, "serve", "engine")
    assert result.exit_code == 1
    assert "SOCKET_EXPOSED" in result.output


def test_a_configuration_goes_behind_what_it_is_for(state: Path) -> None:
    result = command(state, "serve", "--config", str(state / "gateway.toml"), "engine")
    assert result.exit_code == 2
    assert "--config goes behind engine" in result.output
