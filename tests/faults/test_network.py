"""The network between a gateway and its engine is cut: packets are lost, and no end is told."""

import time
from pathlib import Path

import pytest

from sealgate.setup.configuration import EnginePlace
from tests.support.harness.clients.callers import Callers
from tests.support.harness.deployment import GatewayDeployment
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.network.other_network import other_network
from tests.support.harness.processes.engine_process import EngineProcess
from tests.support.oracles.fault_report import hold, watched

pytestmark = pytest.mark.long

_TARGET = 5.0


@pytest.mark.parametrize("seconds", [3, 30])
def test_is_cut(tmp_path: Path, seconds: int) -> None:
    with other_network() as network:
        place = EnginePlace(f"{network.host}:9000")
        deployment = GatewayDeployment(GatewayHarness(tmp_path / "state", engine=place))
        engine = EngineProcess(deployment.harness.state, before=network.words)
        engine.start()
        try:
            deployment.gateway.start()
            deployment.harness.publish("digits-standard", "digits")
            deployment.promote(1)
            fault = f"network to the engine cut, {seconds} s"
            with watched(fault, deployment.gateway, _TARGET) as finding:
                with Callers(deployment.harness) as callers:
                    callers.await_answers()
                    network.cut()
                    cut = time.monotonic()
                    time.sleep(seconds)
                    assert callers.times[-1] - cut < seconds - 1
                    network.join()
                    finding.recovery = callers.recovery(time.monotonic())
                    callers.await_answers()
                hold(finding, deployment.harness, callers, {"1"})
            # A short one passes within callers' deadlines: what was lost is sent again.
            assert callers.failures or seconds < 5
        finally:
            deployment.close()
            engine.stop()
