"""The disk on which answers are recorded is full."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sealgate.reasons import Reason
from tests.support.harness.clients.callers import Callers
from tests.support.harness.deployment import GatewayDeployment
from tests.support.harness.deployment_faults import Quota
from tests.support.harness.gateway import PATIENCE
from tests.support.oracles.fault_report import hold, watched

pytestmark = pytest.mark.long

_TARGET = 2.0


class Disk:
    """One of its own for the answer log, of two megabytes, which answers fill by themselves."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mount("-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs")

    def fill(self) -> None:
        pass

    def clear(self) -> None:
        self._mount("-o", "remount,size=64m")

    def remove(self) -> None:
        subprocess.run(["umount", self._path], check=True)

    def _mount(self, *words: str) -> None:
        subprocess.run(["mount", *words, self._path], check=True, capture_output=True)


@contextmanager
def small_disk(deployment: GatewayDeployment) -> Iterator[Disk]:
    path = deployment.harness.state / "disk"
    path.mkdir()
    deployment.change('"answers.db"', '"disk/answers.db"')
    try:
        disk = Disk(path)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted: {error}")
    try:
        yield disk
    finally:
        deployment.close()
        disk.remove()


def test_is_full(deployment: GatewayDeployment) -> None:
    with small_disk(deployment) as disk:
        check(deployment, disk, "disk full")


def test_files_may_not_grow(deployment: GatewayDeployment) -> None:
    check(deployment, Quota(deployment), "quota used up")


def check(deployment: GatewayDeployment, disk: Disk | Quota, fault: str) -> None:
    """No answer leaves, each caller hears why, and with room again all goes on."""
    deployment.gateway.start()
    deployment.promote(1)
    with (
        watched(fault, deployment.gateway, _TARGET) as finding,
        Callers(deployment.harness, patience=PATIENCE) as callers,
    ):
        callers.await_answers()
        disk.fill()
        callers.await_failures(Reason.RECORD_FAILED)
        for _ in range(50):
            callers.await_failures(Reason.RECORD_FAILED)
        disk.clear()
        finding.recovery = callers.recovery(time.monotonic())
        callers.await_answers()
    hold(finding, deployment.harness, callers, {"1"})
    assert set(callers.failures) == {Reason.RECORD_FAILED}
