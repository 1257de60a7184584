"""An engine of its own process that is killed, and one that hangs."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sealgate.reasons import Reason
from sealgate.v1.registry_pb2 import GetPolicyRequest
from tests.support.harness.clients.callers import Callers
from tests.support.harness.deployment import GatewayDeployment
from tests.support.harness.deployment_with_engine import deployment_with_engine
from tests.support.harness.gateway import PATIENCE
from tests.support.harness.processes.engine_process import EngineProcess
from tests.support.oracles.fault_report import hold, watched

# An engine that is away is looked for each second.
_TARGET = 3.0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[GatewayDeployment, EngineProcess]]:
    with deployment_with_engine(tmp_path / "state") as found:
        yield found


@pytest.mark.long
def test_is_killed(pair: tuple[GatewayDeployment, EngineProcess]) -> None:
    deployment, engine = pair
    with (
        watched("engine killed", deployment.gateway, _TARGET) as finding,
        Callers(deployment.harness, patience=PATIENCE) as callers,
    ):
        callers.await_answers()
        engine.kill()
        callers.await_failures(Reason.ENGINE_UNAVAILABLE)
        time.sleep(3)
        engine.start()
        finding.recovery = callers.recovery(time.monotonic())
        callers.await_answers()
    hold(finding, deployment.harness, callers, {"1"})
    assert set(callers.failures) == {Reason.ENGINE_UNAVAILABLE}


@pytest.mark.long
def test_hangs(pair: tuple[GatewayDeployment, EngineProcess]) -> None:
    """Callers wait until their deadline, or hear that it is away; whoever asks anything else of
    the gateway is answered.
    """
    deployment, engine = pair
    with (
        watched("engine hung", deployment.gateway, _TARGET) as finding,
        Callers(deployment.harness) as callers,
    ):
        callers.await_answers()
        engine.pause()
        try:
            time.sleep(15)
            assert deployment.harness.registry("auditor").GetPolicy(
                GetPolicyRequest(), timeout=PATIENCE
            )
            assert time.monotonic() - callers.times[-1] > 10
        finally:
            engine.resume()
        finding.recovery = callers.recovery(time.monotonic())
        callers.await_answers()
    hold(finding, deployment.harness, callers, {"1"})
    assert set(callers.failures) <= {Reason.ENGINE_UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
