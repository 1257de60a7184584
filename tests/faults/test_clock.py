"""The gateway's clock jumps, and is put right again."""

import time

import pytest

from sealgate.reasons import Reason
from tests.support.harness.clients.callers import Callers, newcomer
from tests.support.harness.deployment import GatewayDeployment, until
from tests.support.harness.deployment_faults import clock_of
from tests.support.oracles.fault_report import hold, watched

pytestmark = pytest.mark.long

_TARGET = 5.0
# A statement of freshness is looked at every five.
_SECONDS = 12


@pytest.mark.parametrize("offset", ["+2h", "+3d", "-2h", "-3d"])
def test_jumps(deployment: GatewayDeployment, offset: str) -> None:
    """Once it is right again, a promotion and a revocation reach callers as ever."""
    set_clock = clock_of(deployment)
    deployment.gateway.start()
    deployment.promote(1)
    harness = deployment.harness
    harness.publish("digits-hardened", "digits")
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
        until(lambda: newcomer(harness) is Reason.VERSION_REVOKED)
