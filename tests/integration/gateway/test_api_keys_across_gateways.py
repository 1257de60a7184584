"""A key that one gateway revokes falls on the others at once."""

import time
from datetime import timedelta

import pytest

from gateway.auth.api_keys import ApiKeyMaker, KeyTable
from sealgate.reasons import Reason
from tests.support.builders.documents.people import NOW, refused
from tests.support.harness.registry import RegistryHarness

MAKER = ApiKeyMaker(b"k" * 32)


@pytest.fixture
def harness(tmp_path):
    harness = RegistryHarness(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    yield harness
    harness.registry.close()


def ask_until(table, key, deadline):
    while time.monotonic() < deadline:
        table.holder(key, 3600)
        time.sleep(0.001)


def test_a_revoked_key_falls_on_another_gateway(harness):
    key = MAKER.make("carla", NOW + timedelta(days=1))
    harness.registry.api_keys.create(
        "otto", key.key_id, "carla", "", NOW + timedelta(days=1), key.digest
    )
    table = KeyTable(MAKER, harness.clock)
    table.start(harness.registry)
    other = harness.open()
    try:
        assert table.holder(key.text, 3600) == "carla"
        other.api_keys.revoke("otto", key.key_id, "leaked")
        with refused(Reason.API_KEY_REVOKED):
            ask_until(table, key.text, time.monotonic() + 60)
    finally:
        table.close()
        other.close()
