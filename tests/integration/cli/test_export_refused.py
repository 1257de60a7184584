"""A pack of a record that somebody edited is not made: nothing is left of it, and why is said."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sealgate.reasons import Reason
from tests.support.harness.gateway import GatewayHarness, running


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with running(tmp_path_factory.mktemp("edited") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        yield harness


@contextmanager
def edited(harness: GatewayHarness, table: str, column: str, change: str) -> Iterator[None]:
    """The registry's database, edited directly, as who has full SQL access would."""
    with closing(sqlite3.connect(harness.state / "registry.db", isolation_level=None)) as database:
        before = database.execute(f"SELECT rowid, {column} FROM {table}").fetchall()  # noqa: S608
        database.execute(f"UPDATE {table} SET {column} = {change}")  # noqa: S608
        try:
            yield
        finally:
            put = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"  # noqa: S608
            database.executemany(put, [(value, row) for row, value in before])


def export(harness: GatewayHarness, folder: Path, *options: str) -> str:
    """Why it was refused; empty where it was not."""
    result = harness.command("audit", "export", str(folder), *options)
    if result.exit_code == 0:
        return ""
    assert result.exit_code == 1, result.output
    return result.stderr.removeprefix("Error: ").partition(":")[0]


@pytest.mark.parametrize(
    ("table", "column", "change", "reason"),
    [
        (
            "log_leaves",
            "data",
            "CAST(replace(data, 'digits', 'digitz') AS BLOB)",
            "LOG_INCONSISTENT",
        ),
        ("approvals", "envelope", "CAST(replace(envelope, 'e', 'f') AS BLOB)", "DIGEST_MISMATCH"),
        ("versions", "signature", "CAST(replace(signature, 'e', 'f') AS BLOB)", "DIGEST_MISMATCH"),
        (
            "log_checkpoints",
            "note",
            "replace(note, char(10) || char(10), char(10) || 'x' || char(10) || char(10))",
            "SIGNATURE_INVALID",
        ),
    ],
)
def test_edited_rows(
    harness: GatewayHarness, tmp_path: Path, table: str, column: str, change: str, reason: str
) -> None:
    with edited(harness, table, column, change):
        assert export(harness, tmp_path / "pack") == reason
    assert list(tmp_path.iterdir()) == []


def test_other_bytes_in_the_artifact_store(harness: GatewayHarness, tmp_path: Path) -> None:
    stored = max((harness.state / "artifacts").rglob("*"), key=lambda path: path.stat().st_size)
    data = stored.read_bytes()
    stored.chmod(0o600)
    stored.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    try:
        assert export(harness, tmp_path / "pack") in ("DIGEST_MISMATCH", "VERSION_ALTERED")
        assert list(tmp_path.iterdir()) == []
        assert export(harness, tmp_path / "pack", "--without-files") == ""
    finally:
        stored.write_bytes(data)


def test_only_the_models_that_are_wanted(harness: GatewayHarness, tmp_path: Path) -> None:
    assert export(harness, tmp_path / "none", "--model", "nobodys") == Reason.MODEL_UNKNOWN.name
    harness.publish("breast-cancer", "breast-cancer")
    assert export(harness, tmp_path / "pack", "--model", "digits") == ""
    assert [path.name for path in (tmp_path / "pack" / "models").iterdir()] == ["digits"]
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_a_folder_that_exists_is_left_alone(harness: GatewayHarness, tmp_path: Path) -> None:
    result = harness.command("audit", "export", str(tmp_path))
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_auditors_alone_export(harness: GatewayHarness, tmp_path: Path) -> None:
    result = harness.command("audit", "export", str(tmp_path / "pack"), person="client")
    assert result.exit_code == 1
    assert "ROLE_TOO_LOW" in result.stderr
    assert list(tmp_path.iterdir()) == []
