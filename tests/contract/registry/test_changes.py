"""A follower of the registry hears of each change, whichever process made it."""

import threading
import time
from collections.abc import Iterator

import pytest

from registry.storage.changes import Changes
from registry.storage.database import Database
from tests.support.harness.registry import RegistryHarness


@pytest.fixture
def follower(harness: RegistryHarness, database_url: str) -> Iterator[Database]:
    """The registry's database, opened a second time as another gateway does."""
    database = Database.open(database_url, "registry")
    yield database
    database.close()


@pytest.fixture
def changes(follower: Database) -> Iterator[Changes]:
    changes = follower.changes()
    # The first says "look", for nobody knows what happened before.
    assert changes.wait(0)
    yield changes
    changes.close()


def test_a_change_is_heard_of_at_once(harness: RegistryHarness, changes: Changes) -> None:
    # One of several: on a loaded machine, who listens may itself come late.
    assert any(seconds_until_heard(harness, changes, f"letters-{at}") < 0.5 for at in range(10))


def seconds_until_heard(harness: RegistryHarness, changes: Changes, model: str) -> float:
    heard: list[float] = []
    token = harness.registry.change_token()

    def listen() -> None:
        while not heard:
            if changes.wait(0.1) and harness.registry.change_token() != token:
                heard.append(time.monotonic())

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(0.15)
    harness.registry.models.create("paula", model)
    made = time.monotonic()
    thread.join(60)
    assert heard
    return heard[0] - made


def test_a_wait_ends_in_time_though_nothing_happens(changes: Changes) -> None:
    begun = time.monotonic()
    for _ in range(3):
        changes.wait(0.05)
    assert time.monotonic() - begun < 30


def test_what_happened_between_two_waits_is_not_missed(
    harness: RegistryHarness, changes: Changes
) -> None:
    for name in ("letters", "numbers", "faces"):
        harness.registry.models.create("paula", name)
    assert changes.wait(60)
