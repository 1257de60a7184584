"""Time limits in the URL of a PostgreSQL database win over our own."""

from typing import Any

import psycopg
import pytest

from registry.storage.database import Database
from registry.storage.postgres import BoundedConnection
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused


@pytest.mark.parametrize(("query", "seconds"), [("", "3"), ("?connect_timeout=60", "60")])
def test_a_url_may_have_its_own_connect_timeout(
    monkeypatch: pytest.MonkeyPatch, query: str, seconds: str
) -> None:
    given: dict[str, Any] = {}

    def connect(*_: Any, **named: Any) -> None:
        given.update(named)
        raise psycopg.OperationalError("nobody is there")

    monkeypatch.setattr(BoundedConnection, "connect", connect)
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Database.open(f"postgresql://localhost/x{query}", "registry")
    assert str(given["connect_timeout"]) == seconds
