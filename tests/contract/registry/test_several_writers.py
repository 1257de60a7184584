"""Several gateways on one registry: each changes it in its turn, and none forks its log."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, select, update

from registry.registry import Registry
from registry.state import schema
from sealgate.reasons import Reason
from sealgate.trust.transparency import open_checkpoint
from tests.support.builders.documents.people import refused
from tests.support.harness.registry import RegistryHarness

_FORK = multiprocessing.get_context("fork")
# SQLite's writers have no queue: on a busy machine the others may be first for seconds.
_BUSY_MS = 60_000


@pytest.fixture
def harness(tmp_path: Path, database_url: str) -> Iterator[RegistryHarness]:
    harness = RegistryHarness.founded(tmp_path, database_url, _BUSY_MS)
    yield harness
    harness.registry.close()


@pytest.fixture
def other(harness: RegistryHarness) -> Iterator[Registry]:
    """A second registry over the database of the first, as another gateway has it."""
    database = harness.database
    registry = harness.open()
    harness.database = database
    yield registry
    registry.close()


def test_changes_from_both_stand_in_one_log(harness: RegistryHarness, other: Registry) -> None:
    registries = (harness.registry, other)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for at in range(12):
                registries[number % 2].models.create("paula", f"model-{number}-{at}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(other.models.list().records) == 1 + 4 * 12
    assert harness.registry.verify() == other.verify()


def test_a_release_that_each_has_a_part_in(harness: RegistryHarness, other: Registry) -> None:
    first = harness.release(harness.publish("one"))
    mine = harness.registry
    harness.registry = other
    harness.release(harness.publish("two"), predecessor=1)
    harness.registry = mine
    harness.roll_back(first, 3)
    assert other.pointers.get("digits", "production").sequence == 3
    assert mine.snapshot() == other.snapshot()
    assert mine.verify() == other.verify()


def work_for_ever(folder: Path, url: str) -> None:
    harness = RegistryHarness(folder, url, _BUSY_MS)
    done = 0
    while True:
        done += 1
        harness.registry.models.create("paula", f"model-{os.getpid()}-{done}")
        # SQLite's writers have no queue: who never rests may keep others out for as long as they
        # are patient.
        time.sleep(0.01)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_one_that_is_killed_leaves_the_others_a_sound_log(tmp_path, database_url) -> None:
    RegistryHarness(tmp_path, database_url).found().registry.close()
    processes = [
        _FORK.Process(target=work_for_ever, args=(tmp_path, database_url)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    harness = RegistryHarness(tmp_path, database_url, _BUSY_MS)
    try:
        for process in processes:
            # Both others, and later the one that is left, write beside this one.
            size = harness.registry.log.size()
            for at in range(10):
                harness.registry.models.create("paula", f"own-{process.pid}-{at}")
            while harness.registry.log.size() < size + 20:
                threading.Event().wait(0.01)
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        verified = harness.registry.verify()
        harness.registry.models.create("paula", "after")
        assert harness.registry.verify().size == verified.size + 1
        harness.registry.close()
    finally:
        for process in processes:
            process.kill()


Saved = dict[Table, list[dict[str, Any]]]


def save(harness: RegistryHarness) -> Saved:
    """A copy of the whole database."""
    with harness.database.reading() as connection:
        return {
            table: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in schema.METADATA.sorted_tables
        }


def put_back(harness: RegistryHarness, saved: Saved) -> None:
    """Restore the copy, as whoever operates the database can."""
    with harness.database.writing() as connection:
        for table in reversed(saved):
            connection.execute(delete(table))
        for table, rows in saved.items():
            if rows:
                connection.execute(insert(table), rows)
        connection.commit()


def check_refuses(registry: Registry) -> None:
    """It neither writes nor follows."""
    with refused(Reason.LOG_INCONSISTENT):
        registry.models.create("paula", "refused")
    with refused(Reason.LOG_INCONSISTENT):
        registry.snapshot()


def test_a_database_put_back_is_refused_by_who_wrote_more(
    harness: RegistryHarness, other: Registry
) -> None:
    saved = save(harness)
    other.models.create("paula", "letters")
    put_back(harness, saved)
    check_refuses(other)


def test_a_database_put_back_is_refused_by_who_read_more(
    harness: RegistryHarness, other: Registry
) -> None:
    saved = save(harness)
    harness.registry.models.create("paula", "letters")
    other.snapshot()
    put_back(harness, saved)
    check_refuses(other)


def test_a_history_that_forked_is_refused(harness: RegistryHarness, other: Registry) -> None:
    """One that had seen less goes on from the copy, with the log's own key, and past the other."""
    saved = save(harness)
    other.models.create("paula", "letters")
    put_back(harness, saved)
    for number in range(3):
        harness.registry.models.create("paula", f"forked-{number}")
    check_refuses(other)
    harness.registry.verify()


def test_a_log_that_was_emptied_is_refused(harness: RegistryHarness, other: Registry) -> None:
    put_back(harness, {table: [] for table in save(harness)})
    check_refuses(other)


def test_what_is_not_signed_by_the_log_is_not_gone_on_from(
    harness: RegistryHarness, other: Registry
) -> None:
    harness.registry.models.create("paula", "letters")
    checkpoints = schema.LOG.checkpoints
    newest = open_checkpoint(harness.registry.log.checkpoint(), harness.registry.log.vkey).size
    with harness.database.writing() as connection:
        forged = update(checkpoints).where(checkpoints.c.size == newest)
        connection.execute(forged.values(note="forged"))
        connection.commit()
    check_refuses(other)
