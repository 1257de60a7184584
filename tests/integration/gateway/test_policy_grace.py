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
from tests.support.house import House, question, refusal, rows
from tests.support.succession import first_document, root, signed

DAYS = 7


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The gateway's: gRPC, certificates and tokens go by the machine's."""
    clock = SimpleNamespace(ahead=timedelta())
    monkeypatch.setattr(app, "now", lambda: datetime.now(UTC) + clock.ahead)
    return clock


@pytest.fixture
def house(tmp_path: Path, clock: SimpleNamespace) -> Iterator[House]:
    """Its policy expires in an hour and has a grace; digits 2 is in production after 1."""
    house = House(tmp_path / "state")
    policy = first_document(house) | {"grace": {"seconds": DAYS * 86400}}
    policy["expires"] = format_time(datetime.now(UTC) + timedelta(hours=1))
    envelope = signed(policy, root(house, 1), root(house, 2))
    (house.state / "trust" / "policy.json").write_bytes(envelope)
    house.start()
    for version, folder in enumerate(("digits-1", "digits-2"), 1):
        house.publish(folder, "digits")
        house.promote("digits", version)
    yield house
    house.stop()


def policy_status(house: House) -> int:
    request = health_pb2.HealthCheckRequest(service="policy")
    return int(HealthStub(house.channel("client")).Check(request, timeout=60).status)


def obstacle(house: House) -> str:
    """Why `/readyz` says no, if it does."""
    return str(house.gateway.metrics.readiness.obstacle())


def told(house: House) -> str:
    request = oip.ModelMetadataRequest(name="digits")
    return house.inference().ModelMetadata(request, timeout=60).properties.get("policy_expired", "")


def test_in_the_grace_what_stands_goes_on_and_says_so(
    house: House, clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    asked = question("digits", rows())
    assert policy_status(house) == health_pb2.HealthCheckResponse.SERVING
    assert told(house) == ""
    waiting = house.approved("digits", 1)
    clock.ahead = timedelta(hours=1, minutes=1)
    house.gateway.registry_sync.upkeep()
    assert house.inference().ModelInfer(asked, timeout=60).model_version == "2"
    assert policy_status(house) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert obstacle(house) == ""
    expires = house.gateway.policy().expires
    assert told(house) == expires
    assert any(expires in each.message for each in caplog.records if each.levelno == logging.ERROR)
    # Dated back as well: the admin's clock is the machine's, by which the policy has time left.
    admin = house.governance("admin")
    assert refusal(admin.promote, waiting, "too late") is Reason.POLICY_EXPIRED
    admin.rollback("digits", "production", 1, "while it stands")
    house.await_version("digits", 1)
    admin.revoke("digits", 2, "while it stands")
    assert house.inference().ModelInfer(asked, timeout=60).model_version == "1"


def test_after_the_grace_nothing_is_answered(house: House, clock: SimpleNamespace) -> None:
    token = house.command("token", "client", "--hours", "700").output.strip()
    house.profile("client").token.write_text(token)
    clock.ahead = timedelta(days=DAYS, hours=1, minutes=1)
    asked = question("digits", rows())
    assert refusal(house.inference().ModelInfer, asked, timeout=60) is Reason.POLICY_EXPIRED
    assert policy_status(house) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert obstacle(house) == Reason.POLICY_EXPIRED.name
