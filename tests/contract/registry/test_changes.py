"""Whoever follows a registry hears of each change within moments, by whatever process."""

import threading
import time
from collections.abc import Iterator

import pytest

from registry.changes import Changes
from registry.database import Database
from tests.support.bureau import Bureau


@pytest.fixture
def follower(bureau: Bureau, database_url: str) -> Iterator[Database]:
    """What a second gateway has open."""
    database = Database.open(database_url, "registry")
    yield database
    database.close()


@pytest.fixture
def changes(follower: Database) -> Iterator[Changes]:
    changes = follower.changes()
    # The first says "look", for nobody knows what happened before.
    assert changes.wait(1)
    yield changes
    changes.close()


def test_a_change_is_heard_of_at_once(bureau: Bureau, changes: Changes) -> None:
    heard: list[float] = []
    token = bureau.registry.change_token()

    def listen() -> None:
        while not heard:
            if changes.wait(0.1) and bureau.registry.change_token() != token:
                heard.append(time.monotonic())

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(0.15)
    bureau.registry.models.create("paula", "letters")
    made = time.monotonic()
    thread.join(5)
    assert heard
    assert heard[0] - made < 0.5


def test_a_wait_ends_in_time_though_nothing_happens(changes: Changes) -> None:
    begun = time.monotonic()
    for _ in range(3):
        changes.wait(0.05)
    assert time.monotonic() - begun < 1


def test_what_happened_between_two_waits_is_not_missed(bureau: Bureau, changes: Changes) -> None:
    for name in ("letters", "numbers", "faces"):
        bureau.registry.models.create("paula", name)
    assert changes.wait(1)
