"""The gateway's certificate expires, and is renewed later."""

from datetime import timedelta

import grpc
import pytest

from tests.support.harness.clients.callers import Callers, newcomer
from tests.support.harness.deployment import GatewayDeployment, until
from tests.support.harness.deployment_faults import show_certificate
from tests.support.harness.gateway import PATIENCE
from tests.support.oracles.fault_report import hold, watched

pytestmark = pytest.mark.long

_TARGET = 2.0


def test_expires(deployment: GatewayDeployment) -> None:
    """Connected callers are answered all the time, new ones only after the renewal."""
    deployment.gateway.start()
    deployment.promote(1)
    with watched("certificate expired", deployment.gateway, _TARGET) as finding:
        with Callers(deployment.harness, patience=PATIENCE) as callers:
            callers.await_everybody()
            show_certificate(deployment, timedelta(seconds=4))
            until(lambda: newcomer(deployment.harness) is grpc.StatusCode.UNAVAILABLE)
            callers.await_answers()
            show_certificate(deployment, timedelta(days=1))
            finding.recovery = until(lambda: newcomer(deployment.harness) == "1")
            callers.await_answers()
        hold(finding, deployment.harness, callers, {"1"})
    assert not callers.failures
