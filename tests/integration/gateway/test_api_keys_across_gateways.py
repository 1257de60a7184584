"""A key that one gateway revokes falls on the others at once."""

import time
from datetime import timedelta

import pytest

from gateway.auth.api_keys import ApiKeyMaker
from gateway.auth.key_table import KeyTable
from sealgate.reasons import Reason
from tests.support.bureau import Bureau
from tests.support.people import NOW, refused

MAKER = ApiKeyMaker(b"k" * 32)


@pytest.fixture
def bureau(tmp_path):
    bureau = Bureau(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    yield bureau
    bureau.registry.close()


def ask_until(table, key, deadline):
    while time.monotonic() < deadline:
        table.holder(key, 3600)
        time.sleep(0.001)


def test_a_revoked_key_falls_on_another_gateway(bureau):
    key = MAKER.make("carla", NOW + timedelta(days=1))
    bureau.registry.api_keys.create(
        "otto", key.key_id, "carla", "", NOW + timedelta(days=1), key.digest
    )
    table = KeyTable(MAKER, bureau.clock)
    table.start(bureau.registry)
    other = bureau.open()
    try:
        assert table.holder(key.text, 3600) == "carla"
        other.api_keys.revoke("otto", key.key_id, "leaked")
        with refused(Reason.API_KEY_REVOKED):
            ask_until(table, key.text, time.monotonic() + 60)
    finally:
        table.close()
        other.close()
