"""Where sessions are shared in PostgreSQL, and the network to it was cut without a word, a request
waited until the system gave up on bytes that nobody acknowledged: a quarter of an hour. Counts of
quotas, in the same kind of place, were given up after two seconds.
"""

from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from gateway.quota_postgres import PostgresStorage
from gateway.sessions.postgres_store import PostgresStore
from gateway.sessions.store import START
from sealgate.reasons import Reason, Refusal

URL = "postgresql://nobody@127.0.0.1:1/none"


def asked_for(engine: Any) -> list[dict[str, Any]]:
    """How connections are asked for, of which there comes none."""
    found = []

    def note(_dialect: Any, _record: Any, _words: Any, named: dict[str, Any]) -> None:
        found.append(dict(named))
        raise OperationalError("connect", {}, Exception("nobody is there"))

    event.listen(engine, "do_connect", note)
    return found


def test_what_nobody_acknowledges_is_given_up_in_seconds() -> None:
    store, storage = PostgresStore(URL, 60), PostgresStorage(URL, wrap_exceptions=True)
    asked = asked_for(store._engine), asked_for(storage._engine)
    with pytest.raises(Refusal) as caught:
        store.exchange("any", [b"a"], START)
    assert caught.value.reason is Reason.SESSION_UNKNOWN
    assert not storage.check()
    for named in asked:
        assert named
        for each in named:
            assert 0 < each["tcp_user_timeout"] <= 5000
            assert 0 < each["connect_timeout"] <= 5
