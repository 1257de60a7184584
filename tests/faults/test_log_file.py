"""The answer log's file is cut short, or an older one is put in its place."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.harness.clients.callers import Callers
from tests.support.harness.deployment import GatewayDeployment, until
from tests.support.oracles.fault_report import hold, watched

pytestmark = pytest.mark.long

_TARGET = 30.0


def set_aside(state: Path, name: str) -> Callable[[], None]:
    """A copy of the log as it is; what is returned puts it back."""
    kept = state / name
    kept.mkdir()
    for path in state.glob("answers.db*"):
        shutil.copy2(path, kept)

    def put_back() -> None:
        for path in state.glob("answers.db*"):
            path.unlink()
        for path in kept.iterdir():
            shutil.copy2(path, state)

    return put_back


def refused(deployment: GatewayDeployment) -> str:
    """Return the error output of a gateway that does not start."""
    deployment.gateway.launch()
    assert deployment.gateway.ended() != 0
    return deployment.gateway.printed


def test_is_cut_short_while_nobody_runs(deployment: GatewayDeployment) -> None:
    """A gateway that finds less than was there before does not start, and says why."""
    state, log = deployment.harness.state, deployment.harness.state / "answers.db"
    deployment.gateway.start()
    deployment.promote(1)
    with watched("log file cut short", deployment.gateway, _TARGET) as finding:
        with Callers(deployment.harness) as callers:
            callers.await_answers(100)
        deployment.gateway.stop()
        older = set_aside(state, "older")
        deployment.gateway.start()
        with Callers(deployment.harness) as more:
            more.await_answers(100)
        deployment.gateway.stop()
        genuine = set_aside(state, "genuine")
        for size in (log.stat().st_size // 2 // 4096 * 4096, 4096, 100, 0):
            with log.open("r+b") as file:
                file.truncate(size)
            assert (
                "LOG_INCONSISTENT" in (said := refused(deployment)) or "REGISTRY_UNAVAIL" in said
            ), said
            genuine()
        older()
        assert "LOG_INCONSISTENT" in refused(deployment)
        genuine()
        finding.recovery = until(lambda: deployment.gateway.start() is None)
        deployment.await_version(1)
        callers.receipts |= more.receipts
        callers.versions += more.versions
        hold(finding, deployment.harness, callers, {"1"})
