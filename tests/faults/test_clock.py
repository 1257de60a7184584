"""The gateway's clock jumps, and is put right again."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sealgate.reasons import Reason
from tests.support.harness.clients.callers import Callers, newcomer
from tests.support.harness.deployment import GatewayDeployment, until
from tests.support.oracles.fault_report import hold, watched

pytestmark = pytest.mark.long

_TARGET = 5.0
# A statement of freshness is looked at every five.
_SECONDS = 12


@pytest.fixture
def set_clock(deployment: GatewayDeployment, tmp_path: Path) -> Callable[[str], None]:
    """Sets the gateway's clock off by so much, as libfaketime writes it; monotonic time goes on."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    stamp = tmp_path / "clock"

    def set_clock(offset: str) -> None:
        # At once: who reads half of it ends.
        new = stamp.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.replace(stamp)

    set_clock("+0")
    deployment.gateway.environment |= {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return set_clock


@pytest.mark.parametrize("offset", ["+2h", "+3d", "-2h", "-3d"])
def test_jumps(
    deployment: GatewayDeployment, set_clock: Callable[[str], None], offset: str
) -> None:
    """Once it is right again, a promotion and a revocation reach callers as ever."""
    deployment.gateway.start()
    deployment.promote(1)
    harness = deployment.harness
    harness.publish("digits-2", "digits")
    admin = harness.governance("admin")
    approved = harness.approved("digits", 2)
    with watched(f"clock off by {offset}", deployment.gateway, _TARGET) as finding:
        with Callers(harness) as callers:
            callers.await_answers()
            set_clock(offset)
            time.sleep(_SECONDS)
            set_clock("+0")
            right = time.monotonic()
            finding.recovery = callers.recovery(right)
            admin.promote(approved, "test")
            finding.recovery = max(finding.recovery, deployment.await_version(2))
            callers.await_answers()
        hold(finding, harness, callers, {"1", "2"})
        admin.revoke("digits", 2, "test")
        until(lambda: newcomer(harness) is Reason.VERSION_REVOKED, 20)
