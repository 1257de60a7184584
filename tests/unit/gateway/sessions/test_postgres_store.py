"""Shared sessions in PostgreSQL give up a lost connection within seconds."""

from typing import Any

import psycopg
import pytest

from gateway.admission.quota_postgres import PostgresStorage
from gateway.sessions.postgres_store import PostgresStore
from gateway.sessions.session_rows import START
from sealgate.reasons import Reason, SealgateError

URL = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """How connections are asked for, of which there comes none."""
    found = []

    def note(*_: Any, **named: Any) -> None:
        found.append(named)
        raise psycopg.OperationalError("nobody is there")

    monkeypatch.setattr(psycopg.Connection, "connect", note)
    return found


def test_a_lost_connection_is_given_up_in_seconds(asked: list[dict[str, Any]]) -> None:
    store, storage = PostgresStore(URL, 60), PostgresStorage(URL, wrap_exceptions=True)
    with pytest.raises(SealgateError) as caught:
        store.exchange("any", [b"a"], START)
    assert caught.value.reason is Reason.SESSION_UNKNOWN
    of_sessions = len(asked)
    assert not storage.check()
    assert 0 < of_sessions < len(asked)
    for each in asked:
        assert 0 < each["tcp_user_timeout"] <= 5000
        assert 0 < each["connect_timeout"] <= 5
