"""Registry, answer log and subjects' keys, all by one URL, on either database."""

import threading

import pytest
from sqlalchemy import make_url

from registry.answers.answer_log import AnswerLog
from registry.answers.subject_keys import SubjectKeys
from registry.storage.database import Database
from sealgate.reasons import Reason
from tests.support.builders.documents.people import ANSWER_LOG, key, refused
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.registry import RegistryHarness
from tests.support.harness.servers.postgres import other_schema

pytestmark = pytest.mark.no_tables


def place(url: str, name: str) -> str:
    """The place of something else beside `url`: another file, or another schema."""
    if url.startswith("sqlite"):
        return url.replace("registry.db", f"{name}.db")
    return other_schema(url, f"{make_url(url).query['schema']}_{name}")


def test_answers_are_recorded_and_proved(database_url: str) -> None:
    log = AnswerLog.open(database_url, ANSWER_LOG, key("answer-log"), SUBJECTS)
    for count in (1, 64, 256, 3):
        log.append([an_answer(f"subject-{count}")] * count)
    assert log.opening(320).subject == "subject-256"
    assert log.reader.verify().size == log.size == 324
    log.close()
    again = AnswerLog.open(database_url, ANSWER_LOG, key("answer-log"), SUBJECTS)
    assert again.append([an_answer()]).first == 324
    again.close()


def test_a_later_gateway_shuts_out_the_earlier(database_url: str) -> None:
    earlier = AnswerLog.open(database_url, ANSWER_LOG, key("answer-log"), SUBJECTS)
    later = AnswerLog.open(database_url, ANSWER_LOG, key("answer-log"), SUBJECTS)
    with refused(Reason.LOG_FENCED):
        earlier.append([an_answer()])
    assert later.append([an_answer()]).first == 0
    earlier.close()
    later.close()


def test_two_gateways_do_not_share_a_log(database_url: str) -> None:
    log = AnswerLog.open(database_url, ANSWER_LOG, key("answer-log"), SUBJECTS)
    with refused(Reason.LOG_INCONSISTENT):
        AnswerLog.open(database_url, "example.org/other", key("other"), SUBJECTS)
    log.append([an_answer()])
    log.close()


def test_keys_are_made_once_and_destroyed(database_url: str) -> None:
    keys, others = SubjectKeys.open(database_url), SubjectKeys.open(database_url)
    met: list[bytes] = []
    threads = [
        threading.Thread(target=lambda store=store: met.append(store.key("somebody")))
        for store in (keys, others) * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(met) == 8
    assert len(set(met)) == 1
    assert keys.known_key("somebody") == met[0]
    keys.destroy("somebody")
    with refused(Reason.ENTRY_UNKNOWN):
        others.known_key("somebody")
    keys.close()
    others.close()


def test_many_open_a_new_one_at_once(database_url: str) -> None:
    opened: list[Database] = []
    threads = [
        threading.Thread(target=lambda: opened.append(Database.open(database_url, "registry")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 6
    for database in opened:
        database.close()


def test_a_log_beside_the_registry(harness: RegistryHarness, database_url: str) -> None:
    """The three families' tables do not meet, though PostgreSQL has them in one database."""
    url = place(database_url, "answers")
    log = AnswerLog.open(url, ANSWER_LOG, key("answer-log"), SUBJECTS)
    log.append([an_answer()] * 5)
    harness.registry.anchors.add("gateway", log.note)
    assert harness.registry.verify().size == harness.registry.log.size()
    assert log.reader.verify().size == 5
    log.close()


def test_a_database_of_another_kind_is_refused() -> None:
    for url in ("mysql://localhost/x", "nonsense", "postgresql://localhost:none/x", "oracle://x"):
        with refused(Reason.REGISTRY_UNAVAILABLE):
            Database.open(url, "registry")
