"""A gateway starts under an expired policy and accepts a new one."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway import app
from sealgate.trust.times import format_time
from tests.support.house import House
from tests.support.succession import document, follow, root, send, signed


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path / "state", "digits-1")
    house.start()
    yield house
    house.stop()


def test_a_gateway_under_an_expired_policy_takes_a_new_one(house, monkeypatch):
    house.promote("digits", 1)
    # The certificates of callers last for a year.
    send_successor(house, datetime.now(UTC), days=30)
    follow(house, 2)
    house.stop()
    later = datetime.now(UTC) + timedelta(days=31)
    monkeypatch.setattr(app, "now", lambda: later)
    house.start()
    assert house.gateway.policy().version == 2
    assert not house.gateway.engine.live()
    send_successor(house, later, days=1)
    house.await_version("digits", 1)
    assert house.gateway.engine.resolve("digits").version == 1


def send_successor(house, issued, days):
    times = {
        "issued": format_time(issued),
        "expires": format_time(issued + timedelta(days=days)),
    }
    send(house, signed(document(house) | times, root(house, 1), root(house, 2)))
