"""A gateway starts under an expired policy and accepts a new one."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway import app
from sealgate.trust.times import format_time
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.policy_changes import document, follow, root, send, signed


@pytest.fixture
def harness(tmp_path):
    harness = GatewayHarness(tmp_path / "state", "digits-standard")
    harness.start()
    yield harness
    harness.stop()


def test_a_gateway_under_an_expired_policy_takes_a_new_one(harness, monkeypatch):
    harness.promote("digits", 1)
    # The certificates of callers last for a year.
    send_successor(harness, datetime.now(UTC), days=30)
    follow(harness, 2)
    harness.stop()
    later = datetime.now(UTC) + timedelta(days=31)
    monkeypatch.setattr(app, "now", lambda: later)
    harness.start()
    assert harness.gateway.engine.policy_in_force().version == 2
    assert not harness.gateway.engine.live()
    send_successor(harness, later, days=1)
    harness.await_version("digits", 1)
    assert harness.gateway.engine.resolve("digits").version == 1


def send_successor(harness, issued, days):
    times = {
        "issued": format_time(issued),
        "expires": format_time(issued + timedelta(days=days)),
    }
    send(harness, signed(document(harness) | times, root(harness, 1), root(harness, 2)))
