"""Where versions run is said once: here, by an engine of ours, or by a foreign one."""

import pytest

from gateway.config.document import GatewayConfig
from sealgate.settings import ConfigError
from tests.unit.gateway.config.test_document import GOOD

FOREIGN = '[foreign_engine]\naddress = "127.0.0.1:8081"\nname = "mlserver"\n'


def read(tmp_path, text: str) -> GatewayConfig:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return GatewayConfig.read(path)


def test_a_foreign_engine_is_read(tmp_path):
    section = f"{FOREIGN}authority = 'ca.pem'\ntolerance = 1e-4"
    found = read(tmp_path, f"{GOOD}\n{section}").foreign_engine
    assert (found.address, found.name, found.tolerance) == ("127.0.0.1:8081", "mlserver", 1e-4)
    assert found.authority == tmp_path / "ca.pem"
    assert read(tmp_path, GOOD).foreign_engine.address == ""


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (f'[engine]\nsocket = "engine.sock"\n{FOREIGN}', "cannot both"),
        ('[foreign_engine]\naddress = "10.0.0.1:8081"', "authority, for TLS"),
        (f"{FOREIGN}digest = true", "no setting 'digest'"),
    ],
)
def test_what_is_refused(tmp_path, section, words):
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, f"{GOOD}\n{section}")
