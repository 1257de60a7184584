"""A PostgreSQL server that restarts, crashes, is full or lets nobody in.

The servers here are the tests' own, since they break them.
"""

import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from registry.answers.answer_log import AnswerLog
from registry.storage.database import Database
from registry.storage.postgres import Listener
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import ANSWER_LOG, key, refused
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.registry import RegistryHarness
from tests.support.harness.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer(max_connections="20")
    yield server
    server.close()


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.schema_url(f"test_{secrets.token_hex(6)}")


@pytest.fixture
def harness(tmp_path: Path, url: str) -> Iterator[RegistryHarness]:
    harness = RegistryHarness(tmp_path, url).found()
    yield harness
    harness.registry.close()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_listener_polls_while_the_server_is_away_and_listens_again(
    server: PostgresServer, harness: RegistryHarness, how: signal.Signals
) -> None:
    listener = harness.database.changes()
    assert isinstance(listener, Listener)
    assert listener.wait(60)
    assert listener.connected
    server.stop(how)
    assert listener.wait(60)
    assert not listener.connected
    begun = time.monotonic()
    for _ in range(20):
        assert listener.wait(0.1)
    # Neither a busy loop nor a standstill.
    assert 0.2 < time.monotonic() - begun < 50
    with refused(Reason.REGISTRY_UNAVAILABLE):
        harness.registry.change_token()
    server.start()
    wait_until(lambda: listener.wait(0.1) and listener.connected)
    token = harness.registry.change_token()
    harness.registry.models.create("paula", "letters")
    assert listener.wait(60)
    assert harness.registry.change_token() != token
    listener.close()


def test_a_writer_goes_on_after_a_crash_and_loses_nothing(
    server: PostgresServer, url: str, tmp_path: Path
) -> None:
    """Groups are refused while the server is away; each that was acknowledged is there after."""
    log = AnswerLog.open(url, ANSWER_LOG, key("answer-log"), SUBJECTS)
    kept: list[tuple[int, str]] = []
    reasons: set[Reason] = set()
    stopping = threading.Event()

    def record() -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            subject = f"subject-{number}"
            try:
                kept.append((log.append([an_answer(subject)] * 7).first, subject))
            except SealgateError as refusal:
                reasons.add(refusal.reason)

    thread = threading.Thread(target=record)
    thread.start()
    wait_until(lambda: len(kept) > 20)
    server.stop(signal.SIGQUIT)
    wait_until(lambda: bool(reasons))
    server.start()
    before = len(kept)
    wait_until(lambda: len(kept) > before + 20)
    stopping.set()
    thread.join()
    assert reasons <= {Reason.REGISTRY_UNAVAILABLE, Reason.RECORD_FAILED}
    assert log.reader.verify().size == log.size
    assert all(log.opening(first).subject == subject for first, subject in kept)
    log.close()


def test_a_full_pool_is_refused_in_time(url: str) -> None:
    database = Database.open(url, "registry", busy_ms=200)

    def seconds_until_refused() -> float:
        begun = time.monotonic()
        with refused(Reason.REGISTRY_UNAVAILABLE), database.reading():
            pass
        with refused(Reason.REGISTRY_UNAVAILABLE), database.writing():
            pass
        return time.monotonic() - begun

    with ExitStack() as stack:
        for _ in range(15):
            stack.enter_context(database.reading())
        # One of several: on a loaded machine, who waits may itself come late.
        assert any(seconds_until_refused() < 2 for _ in range(10))
    with database.writing():
        pass
    database.close()


def test_a_full_server_is_refused_and_had_again_later(url: str) -> None:
    """Every connection that the server lets in is taken by somebody else."""
    databases = [Database.open(url, "registry", busy_ms=200) for _ in range(2)]
    with ExitStack() as stack:
        with refused(Reason.REGISTRY_UNAVAILABLE):
            for turn in range(30):
                stack.enter_context(databases[turn % 2].reading())
        with refused(Reason.REGISTRY_UNAVAILABLE):
            Database.open(url, "registry")
    for database in databases:
        with database.reading():
            pass
        database.close()


def test_a_writer_that_waits_too_long_is_refused(url: str) -> None:
    slow, quick = Database.open(url, "registry"), Database.open(url, "registry", busy_ms=100)
    with slow.writing():
        with refused(Reason.REGISTRY_UNAVAILABLE), quick.writing():
            pass
        # Readers wait for nobody.
        with quick.reading():
            pass
    with quick.writing():
        pass
    slow.close()
    quick.close()


def test_a_writer_cut_off_in_the_middle_leaves_nothing(
    server: PostgresServer, harness: RegistryHarness
) -> None:
    size = harness.registry.log.size()
    database = harness.database
    with refused(Reason.RECORD_FAILED), database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO log_leaves VALUES (99, 'x')")
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        assert server.psql(f"SELECT pg_terminate_backend({pid}, 5000)").strip() == "t"
        connection.commit()
    harness.registry.models.create("paula", "letters")
    assert harness.registry.verify().size == size + 1


def test_what_would_not_survive_a_crash_is_refused(server: PostgresServer) -> None:
    unsafe = f"{server.url}&schema=unsafe&options=-csynchronous_commit%3Doff"
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Database.open(unsafe, "answers")


@pytest.mark.parametrize("schema", ["Upper", "a-b", "a b", 'a"b', "x" * 64])
def test_a_schema_of_another_form_is_refused(server: PostgresServer, schema: str) -> None:
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Database.open(f"{server.url}&schema={schema}", "answers")
