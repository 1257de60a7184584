"""A process killed at any moment leaves neither a state without its entry nor an entry without its
state.
"""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import func, select

from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.log.rows import OPENINGS
from registry.storage.database import Database
from sealgate.trust.receipts import answer_entry
from sealgate.trust.transparency import open_checkpoint
from sealgate.trust.transparency.note import vkey
from tests.support.builders.documents.people import ANSWER_LOG, key
from tests.support.fakes.records import SUBJECTS, opening
from tests.support.harness.registry import RegistryHarness

pytestmark = [pytest.mark.slow, pytest.mark.no_tables]

_ROUNDS = 20
_FORK = multiprocessing.get_context("fork")


def kill_at_work(work: Callable[[Connection], None], steps: int, seconds: float) -> list[str]:
    """Kill a process `seconds` after its report number `steps`; return what it had reported."""
    here, there = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=work, args=(there,))
    process.start()
    there.close()
    reported = []
    try:
        while len(reported) < steps and here.poll(60):
            reported.append(here.recv())
        time.sleep(seconds)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        while here.poll():
            reported.append(here.recv())
    except EOFError:
        pass
    assert process.exitcode == -signal.SIGKILL
    return reported


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_registry_killed_at_any_moment(tmp_path: Path, database_url: str) -> None:
    chance = random.Random(1)  # noqa: S311
    url = database_url
    RegistryHarness(tmp_path, url).found().registry.close()
    moves = 0
    for _ in range(_ROUNDS):
        reported = kill_at_work(
            lambda pipe: release_versions(tmp_path, url, pipe),
            chance.randint(1, 6),
            chance.random() / 50,
        )
        # Opening the registry compares every row with every entry.
        harness = RegistryHarness(tmp_path, url)
        size = harness.registry.verify().size
        assert size >= max(map(int, reported))
        moves = len(harness.registry.snapshot().live)
        harness.registry.close()
    assert moves > 0


def release_versions(folder: Path, url: str, pipe: Connection) -> None:
    """Create models and release a version of each, telling the log's size after each change."""
    harness = RegistryHarness(folder, url)
    done = len(harness.registry.models.list().records)
    pipe.send(str(harness.registry.log.size()))
    while True:
        done += 1
        model = f"model-{done}-{os.getpid()}"
        harness.registry.models.create("paula", model)
        pipe.send(str(harness.registry.log.size()))
        harness.release(harness.publish(model, model))
        pipe.send(str(harness.registry.log.size()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_answer_log_killed_at_any_moment(database_url: str) -> None:
    chance = random.Random(2)  # noqa: S311
    url = database_url
    for _ in range(_ROUNDS):
        notes = kill_at_work(lambda pipe: record_answers(url, pipe), 1, chance.random() / 20)
        # Acknowledged entries are still there, at their index.
        known = open_checkpoint(notes[-1], vkey(ANSWER_LOG, key("answer-log").public))
        log = AnswerLog.open(url, ANSWER_LOG, key("answer-log"), SUBJECTS, known=known)
        assert log.reader.verify().size == log.size >= known.size
        log.close()
        database = Database.open(url, "answers")
        with database.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(OPENINGS)) == log.size
        database.close()


def record_answers(url: str, pipe: Connection) -> None:
    """Append groups of answers, telling each checkpoint once it is durable."""
    log = AnswerLog.open(url, ANSWER_LOG, key("answer-log"), SUBJECTS)
    pipe.send(log.note)
    leaf = answer_entry.leaf(answer_entry.FIELDS, answer_entry.salts(b"key", b"nonce"))
    group = [LoggedAnswer(leaf, opening(nonce=b"nonce"))] * 37
    while True:
        log.append(group)
        pipe.send(log.note)
