"""A database that hung just as it had let in who follows it held that thread for as long as it
hung; by it revocations arrive.
"""

import secrets
import time

import pytest
from sqlalchemy import event

from registry.database import Database
from registry.postgres import Listener
from registry.postgres_connection import BoundedConnection
from tests.support.postgres import PostgresServer


@pytest.mark.timeout(180)
def test_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    server = PostgresServer()
    try:
        database = Database.open(server.schema_url(f"test_{secrets.token_hex(6)}"), "registry")
        monkeypatch.setattr(BoundedConnection, "patience", 1.0)
        listener = database.changes()
        assert isinstance(listener, Listener)
        event.listen(listener._engine, "connect", lambda *_: server.pause(), once=True)
        begun = time.monotonic()
        assert listener.wait(0.1)
        assert not listener.connected
        assert time.monotonic() - begun < 60
        server.resume()
        until = time.monotonic() + 60
        while not listener.connected and time.monotonic() < until:
            listener.wait(0.1)
        assert listener.connected
        listener.close()
        database.close()
    finally:
        server.resume()
        server.close()
