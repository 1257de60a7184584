"""A gateway starts under an expired policy and accepts a new one."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway import app
from sealgate.trust.times import format_time
from tests.support.house import House
from tests.support.succession import document, root, send, signed


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path / "state", "digits-1")
    house.start()
    yield house
    house.stop()


def test_a_gateway_under_an_expired_policy_takes_a_new_one(house, monkeypatch):
    house.promote("digits", 1)
    house.stop()
    later = datetime.now(UTC) + timedelta(days=366)
    monkeypatch.setattr(app, "now", lambda: later)
    # Certificates and tokens end with the policy here, and gRPC reads no clock but the machine's.
    house.start()
    assert house.gateway.policy().version == 1
    assert not house.gateway.engine.live()
    successor = document(house) | {
        "issued": format_time(later),
        "expires": format_time(later + timedelta(days=1)),
    }
    send(house, signed(successor, root(house, 1), root(house, 2)))
    house.await_version("digits", 1)
    assert house.gateway.engine.resolve("digits").version == 1
