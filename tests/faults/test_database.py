"""A PostgreSQL server that is stopped, that hangs, and that is slow.

It has the registry, and in some tests the answers as well; otherwise those are in a file beside
the gateway, as docs/how-to/deploy.md has it.
"""

import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sealgate.reasons import Reason
from tests.support.harness.clients.callers import Callers
from tests.support.harness.deployment import GatewayDeployment, until
from tests.support.harness.deployment_faults import registry_says
from tests.support.harness.gateway import PATIENCE, GatewayHarness
from tests.support.harness.network.slow_socket import slow_socket
from tests.support.harness.servers.postgres import PostgresServer
from tests.support.oracles.fault_report import hold, watched

pytestmark = pytest.mark.long

_TARGET = 3.0
_AWAY = frozenset({Reason.RECORD_FAILED, Reason.QUEUE_FULL, grpc.StatusCode.DEADLINE_EXCEEDED})


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


def on_postgres(state: Path, url: str, *, answers: bool) -> GatewayDeployment:
    """A running gateway with digits 1 in production and digits 2 registered."""
    name = secrets.token_hex(6)
    deployment = GatewayDeployment(GatewayHarness(state))
    deployment.change('"sqlite:///registry.db"', f'"{url}&schema=registry_{name}"')
    deployment.configure(f"\n[limits]\ndeadline = {PATIENCE}\n")
    if answers:
        deployment.change('"answers.db"', f'"{url}&schema=answers_{name}"')
    try:
        deployment.gateway.start()
        for version in ("digits-standard", "digits-hardened"):
            deployment.harness.publish(version, "digits")
        deployment.promote(1)
    except BaseException:
        deployment.close()
        raise
    return deployment


@pytest.fixture(params=["registry", "answers"])
def deployment(
    request: pytest.FixtureRequest, tmp_path: Path, server: PostgresServer
) -> Iterator[GatewayDeployment]:
    deployment = on_postgres(tmp_path / "state", server.url, answers=request.param == "answers")
    yield deployment
    deployment.close()


def held_answers(deployment: GatewayDeployment) -> bool:
    return "answers_" in (deployment.harness.state / "gateway.toml").read_text()


@pytest.mark.parametrize("how", ["stopped", "hung"])
def test_goes_and_comes_back(
    deployment: GatewayDeployment, server: PostgresServer, how: str
) -> None:
    """Where the answers are elsewhere, they go on; else none leaves. A version that is promoted
    afterwards answers.
    """
    answers = held_answers(deployment)
    fault = f"database {how}" + (", with the answers in it" if answers else "")
    proposal = deployment.harness.approved("digits", 2)
    with (
        watched(fault, deployment.gateway, _TARGET) as finding,
        # A slow machine is no fault: where answers go on, each is waited for.
        Callers(deployment.harness, patience=5.0 if answers else PATIENCE) as callers,
    ):
        callers.await_answers()
        server.stop(signal.SIGQUIT) if how == "stopped" else server.pause()
        gone = time.monotonic()
        try:
            assert registry_says(deployment, PATIENCE) is Reason.REGISTRY_UNAVAILABLE
            time.sleep(max(0.0, 15 - (time.monotonic() - gone)))
            if answers:
                assert callers.times[-1] - gone < 10
            else:
                callers.await_answers()
        finally:
            server.start() if how == "stopped" else server.resume()
        back = time.monotonic()
        until(lambda: registry_says(deployment) is None)
        finding.recovery = max(time.monotonic() - back, callers.recovery(back) if answers else 0)
        deployment.harness.governance("admin").promote(proposal, "test")
        deployment.await_version(2)
        callers.await_answers()
    hold(finding, deployment.harness, callers, {"1", "2"})
    assert set(callers.failures) <= (_AWAY if answers else set())


def test_is_slow(tmp_path: Path, server: PostgresServer) -> None:
    """A tenth of a second for each thing that is said: answers come late, and all the same."""
    with slow_socket(server.socket) as slow:
        url = server.url.replace(str(server.socket.parent), str(slow.path.parent))
        deployment = on_postgres(tmp_path / "state", url, answers=True)
        try:
            with watched("database slow", deployment.gateway, _TARGET) as finding:
                with Callers(deployment.harness, patience=PATIENCE) as callers:
                    callers.await_answers()
                    slow.delay = 0.1
                    time.sleep(1)
                    callers.await_answers(40)
                    slow.delay = 0.0
                    finding.recovery = callers.recovery(time.monotonic())
                    callers.await_answers()
                hold(finding, deployment.harness, callers, {"1"})
            assert not callers.failures
        finally:
            deployment.close()
