"""A database that cannot be used is named with what to change, and without its password."""

import sys
from pathlib import Path

import pytest

from gateway.config.opening import opening
from registry import storage
from registry.storage.database import Database
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from tests.support.harness.servers.postgres import PostgresServer


def said_of(place: Path | str) -> str:
    """Return the error's text for a place that cannot be used."""
    with pytest.raises(ConfigError) as caught, opening("[registry] database", place):
        Database.open(place, "registry")
    cause = caught.value.__cause__
    assert isinstance(cause, SealgateError)
    assert cause.reason is Reason.REGISTRY_UNAVAILABLE
    text = str(caught.value)
    assert "[registry] database = " in text
    assert "\n" not in text
    return text


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    Database.open(path, "registry").close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "it is damaged" in said_of(path)
    path.write_bytes(b"something else" * 1000)
    assert "it is damaged" in said_of(path)


def test_a_wrong_password(postgres: PostgresServer) -> None:
    text = said_of(postgres.url.replace(postgres.password, "guessed"))
    assert "password authentication failed" in text
    assert "guessed" not in text
    assert ".pgpass" in text


def test_a_wrong_host() -> None:
    text = said_of("postgresql://sealgate:hidden@127.0.0.1:1/sealgate")
    assert "refused" in text
    assert "hidden" not in text
    assert "127.0.0.1:1/sealgate" in text


def test_a_wrong_database(postgres: PostgresServer) -> None:
    assert '"nowhere" does not exist' in said_of(postgres.url.replace("/postgres?", "/nowhere?"))


def test_a_user_without_rights(postgres: PostgresServer) -> None:
    postgres.psql("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    text = said_of(postgres.url.replace(f"sealgate:{postgres.password}", "guest:guest"))
    assert "permission denied" in text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://me:hidden@localhost/x", "neither sqlite nor postgresql"),
        ("postgresql://me:hidden@localhost:port/x", "not a number"),
        ("postgresql//me:hidden@localhost", "parse"),
        ("postgresql://me:hidden@localhost/x?schema=A", "not a plain name"),
    ],
)
def test_a_url_that_is_none(url: str, words: str) -> None:
    text = said_of(url)
    assert words in text
    assert "hidden" not in text


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(storage, "postgres", raising=False)
    monkeypatch.setitem(sys.modules, "registry.storage.postgres", None)
    assert "pip install 'sealgate[postgres]'" in said_of("postgresql://localhost/x")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "folder" in said_of(tmp_path / "none" / "registry.db")


def test_other_refusals_pass() -> None:
    with (
        pytest.raises(SealgateError, check=lambda error: error.reason is Reason.LOG_INCONSISTENT),
        opening("[registry] database", "sqlite://"),
    ):
        raise SealgateError(Reason.LOG_INCONSISTENT)
