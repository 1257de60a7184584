"""Rollback and revocation while two gateways of one registry are asked: nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealgate.reasons import Reason
from sealgate.remote import Profile
from tests.support.harness.alias_callers import Asked, Load
from tests.support.harness.gateway import GatewayHarness, rows, started_on
from tests.support.harness.policy_changes import change
from tests.support.harness.processes.second_gateway import SecondGateway
from tests.support.harness.rollouts import share

pytestmark = pytest.mark.slow


@pytest.fixture
def gateways(database_url: str, tmp_path: Path) -> Iterator[tuple[GatewayHarness, SecondGateway]]:
    """Production has named digits 1 and names 2; canary names 3. A second gateway runs."""
    versions = ("digits-standard", "digits-hardened", "digits-hardened")
    harness = started_on(database_url, tmp_path / "state", *versions)
    second = SecondGateway(harness)
    try:
        harness.promote("digits", 1)
        harness.promote("digits", 2)
        share(harness, 3, 0)
        change(harness, lambda document: document["logs"]["answers"].append(second.line))
        second.start()
        yield harness, second
    finally:
        second.kill()
        harness.stop()


def test_no_request_is_lost(gateways: tuple[GatewayHarness, SecondGateway]) -> None:
    harness, second = gateways
    profiles = [harness.profile("client"), Profile.read(second.profile("client"))]
    admin = harness.governance("admin")

    def await_both(load: Load, alias: str, **wanted: object) -> None:
        def answered(item: Asked) -> bool:
            return item.alias == alias and all(
                getattr(item, name) == value for name, value in wanted.items()
            )

        for gateway in range(2):
            load.await_answer(gateway, answered)

    with Load(profiles, rows(count=20), ("", "canary"), callers=2) as load:
        await_both(load, "", version=2)
        await_both(load, "canary", version=3)
        for version in (1, 2, 1):
            admin.rollback("digits", "production", version, "test")
            await_both(load, "", version=version)
        admin.revoke("digits", 3, "test")
        await_both(load, "canary", version=None, reason=Reason.VERSION_REVOKED)
    production = [item for item in load.asked if not item.alias]
    assert {(item.version, item.reason) for item in production} == {(1, None), (2, None)}
    canary = [item for item in load.asked if item.alias]
    assert {(item.version, item.reason) for item in canary} == {
        (3, None),
        (None, Reason.VERSION_REVOKED),
    }
    for gateway in range(2):
        # Once it was refused, nobody who asked later was answered by it.
        here = [item for item in canary if item.gateway == gateway]
        refused = min(item.received for item in here if item.reason)
        assert all(item.reason for item in here if item.sent >= refused)
