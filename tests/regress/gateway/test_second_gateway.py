"""A second gateway of the same installation once took the logs from the first before it found the
port in use and gave up: the first was left unable to record, and so to answer.
"""

import pytest

from demo.stage import StepFailed, check_free
from gateway.app import build
from gateway.config.document import GatewayConfig
from sealgate.settings import ConfigError
from sealgate.v1 import registry_pb2 as messages
from tests.support.house import running


def test_a_second_gateway_leaves_the_first_alone(tmp_path):
    with running(tmp_path / "state") as house:
        with pytest.raises(ConfigError):
            build(GatewayConfig.read(house.state / "gateway.toml"))
        registry = house.registry("publisher")
        made = registry.CreateModel(messages.CreateModelRequest(model="digits"), timeout=60)
        assert made.model.name == "models/digits"


def test_a_start_says_that_another_gateway_is_there(tmp_path):
    with running(tmp_path / "state") as house:
        endpoint = house.profile("client").endpoint
        with pytest.raises(StepFailed, match="in use"):
            check_free(endpoint)
    check_free(endpoint)
