"""A gateway under a policy that has expired, in the grace that it gives and after that."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from gateway import app
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.trust.times import format_time
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows
from tests.support.harness.policy_changes import first_document, root, signed

DAYS = 7


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The gateway's: gRPC, certificates and tokens go by the machine's."""
    clock = SimpleNamespace(ahead=timedelta())
    monkeypatch.setattr(app, "now", lambda: datetime.now(UTC) + clock.ahead)
    return clock


@pytest.fixture
def harness(tmp_path: Path, clock: SimpleNamespace) -> Iterator[GatewayHarness]:
    """Its policy expires in an hour and has a grace; digits 2 is in production after 1."""
    harness = GatewayHarness(tmp_path / "state")
    policy = first_document(harness) | {"grace": {"seconds": DAYS * 86400}}
    policy["expires"] = format_time(datetime.now(UTC) + timedelta(hours=1))
    envelope = signed(policy, root(harness, 1), root(harness, 2))
    (harness.state / "trust" / "policy.json").write_bytes(envelope)
    harness.start()
    for version, folder in enumerate(("digits-standard", "digits-hardened"), 1):
        harness.publish(folder, "digits")
        harness.promote("digits", version)
    yield harness
    harness.stop()


def policy_status(harness: GatewayHarness) -> int:
    request = health_pb2.HealthCheckRequest(service="policy")
    return int(HealthStub(harness.channel("client")).Check(request, timeout=60).status)


def obstacle(harness: GatewayHarness) -> str:
    """Why `/readyz` says no, if it does."""
    return str(harness.gateway.metrics.readiness.obstacle())


def told(harness: GatewayHarness) -> str:
    request = oip.ModelMetadataRequest(name="digits")
    return (
        harness.inference().ModelMetadata(request, timeout=60).properties.get("policy_expired", "")
    )


def test_in_the_grace_what_stands_goes_on_and_says_so(
    harness: GatewayHarness, clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    asked = question("digits", rows())
    assert policy_status(harness) == health_pb2.HealthCheckResponse.SERVING
    assert told(harness) == ""
    waiting = harness.approved("digits", 1)
    clock.ahead = timedelta(hours=1, minutes=1)
    harness.gateway.registry_sync.upkeep()
    assert harness.inference().ModelInfer(asked, timeout=60).model_version == "2"
    assert policy_status(harness) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert obstacle(harness) == ""
    expires = harness.gateway.engine.policy_in_force().expires
    assert told(harness) == expires
    assert any(expires in each.message for each in caplog.records if each.levelno == logging.ERROR)
    # Dated back as well: the admin's clock is the machine's, by which the policy has time left.
    admin = harness.governance("admin")
    assert refusal(admin.promote, waiting, "too late") is Reason.POLICY_EXPIRED
    admin.rollback("digits", "production", 1, "while it stands")
    harness.await_version("digits", 1)
    admin.revoke("digits", 2, "while it stands")
    assert harness.inference().ModelInfer(asked, timeout=60).model_version == "1"


def test_after_the_grace_nothing_is_answered(
    harness: GatewayHarness, clock: SimpleNamespace
) -> None:
    token = harness.command("token", "client", "--hours", "700").output.strip()
    harness.profile("client").token.write_text(token)
    clock.ahead = timedelta(days=DAYS, hours=1, minutes=1)
    asked = question("digits", rows())
    assert refusal(harness.inference().ModelInfer, asked, timeout=60) is Reason.POLICY_EXPIRED
    assert policy_status(harness) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert obstacle(harness) == Reason.POLICY_EXPIRED.name
