"""Erased rows are in no table's file any more, on PostgreSQL; the write-ahead log is its server's.

For SQLite's files see `tests/unit/registry/answers/test_purging.py`.
"""

from contextlib import closing

from sqlalchemy import create_engine, make_url, select, text

from registry.answers.answer_log import AnswerLog
from registry.answers.subject_keys import SubjectKeys
from registry.log.rows import OPENINGS
from registry.storage.database import Database
from tests.support.builders.documents.people import ANSWER_LOG, key
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.servers.postgres import other_schema


def in_file(url: str, table: str, secret: bytes) -> bool:
    """Whether the server's file of a table holds these bytes."""
    schema = make_url(url).query["schema"]
    plain = make_url(url).difference_update_query(["schema"])
    engine = create_engine(plain.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CHECKPOINT"))
        read = text("SELECT pg_read_binary_file(pg_relation_filepath(CAST(:name AS regclass)))")
        data = connection.scalar(read, {"name": f'"{schema}".{table}'})
    engine.dispose()
    return secret in bytes(data)


def test_a_destroyed_key_is_in_no_table(postgres_url: str) -> None:
    with closing(SubjectKeys.open(postgres_url)) as keys:
        secret = keys.key("patient-4711")
        kept = keys.key("patient-4712")
        assert in_file(postgres_url, "subject_keys", secret)
        keys.destroy("patient-4711")
        assert in_file(postgres_url, "subject_keys", secret)
        keys.purge()
        assert not in_file(postgres_url, "subject_keys", secret)
        assert not in_file(postgres_url, "subject_keys", b"patient-4711")
        assert keys.known_key("patient-4712") == kept


def test_erased_openings_are_vacuumed(postgres_url: str) -> None:
    url = other_schema(postgres_url, make_url(postgres_url).query["schema"] + "_answers")
    with closing(AnswerLog.open(url, ANSWER_LOG, key("answer-log"), SUBJECTS)) as log:
        log.append([an_answer("patient-4711")] * 10)
        with closing(Database.open(url, "answers")) as database, database.reading() as connection:
            rows = [bytes(sealed) for sealed in connection.scalars(select(OPENINGS.c.sealed))]
        assert in_file(url, "log_sealed_openings", rows[0])
        assert log.openings.erase("patient-4711", log.size) == 10
        log.openings.purge()
        assert not any(in_file(url, "log_sealed_openings", row) for row in rows)
