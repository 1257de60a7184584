"""The gateway's certificate expires, and is renewed later."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from sealgate.setup.credentials import CertificateAuthority
from tests.support.harness.clients.callers import Callers, newcomer
from tests.support.harness.deployment import GatewayDeployment, until
from tests.support.oracles.fault_report import hold, watched

pytestmark = pytest.mark.long

_TARGET = 2.0
_HOSTS = ("localhost", "127.0.0.1")


def serve(deployment: GatewayDeployment, lifetime: timedelta) -> None:
    """Have the gateway show a new certificate, whose authority everybody trusts."""
    authority = CertificateAuthority("renewed", datetime.now(UTC), lifetime)
    made = authority.server("gateway", _HOSTS)
    tls = deployment.harness.state / "tls"
    put(tls / "servers.pem", (tls / "servers.pem").read_bytes() + authority.pem)
    put(tls / "gateway.key", made.key)
    put(tls / "gateway.pem", made.certificate)


def put(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


def test_expires(deployment: GatewayDeployment) -> None:
    """Who is connected is answered all the time; who comes is not, until there is another."""
    deployment.gateway.start()
    deployment.promote(1)
    with watched("certificate expired", deployment.gateway, _TARGET) as finding:
        with Callers(deployment.harness) as callers:
            callers.await_answers()
            serve(deployment, timedelta(seconds=4))
            assert newcomer(deployment.harness) == "1"
            until(lambda: newcomer(deployment.harness) is grpc.StatusCode.UNAVAILABLE)
            callers.await_answers()
            serve(deployment, timedelta(days=1))
            finding.recovery = until(lambda: newcomer(deployment.harness) == "1")
            callers.await_answers()
        hold(finding, deployment.harness, callers, {"1"})
    assert not callers.failures
