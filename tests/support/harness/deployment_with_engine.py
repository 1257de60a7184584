"""A gateway and its engine, each a process of its own, with a version in production."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealgate.setup.configuration import EnginePlace
from tests.support.harness.deployment import GatewayDeployment
from tests.support.harness.gateway import PATIENCE, GatewayHarness
from tests.support.harness.processes.engine_process import EngineProcess


@contextmanager
def deployment_with_engine(state: Path) -> Iterator[tuple[GatewayDeployment, EngineProcess]]:
    """Behind a socket, with digits 1 in production; `state` is to be new."""
    deployment = GatewayDeployment(GatewayHarness(state, engine=EnginePlace()))
    deployment.configure(f"\n[limits]\ndeadline = {PATIENCE}\n")
    engine = EngineProcess(deployment.harness.state)
    engine.start()
    try:
        deployment.gateway.start()
        deployment.harness.publish("digits-standard", "digits")
        deployment.promote(1)
        yield deployment, engine
    finally:
        deployment.close()
        engine.stop()
