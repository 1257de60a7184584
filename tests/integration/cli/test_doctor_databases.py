"""`sealgate doctor` looks at the databases of an installation, and tells what is wrong."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from sealgate.v1 import log_pb2 as messages
from tests.support.harness.gateway import GatewayHarness, refusal

ENTRIES = 270


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> GatewayHarness:
    """A gateway with a full tile of recorded refusals; it does not run any more."""
    harness = GatewayHarness(tmp_path_factory.mktemp("house") / "state")
    harness.start()
    try:
        request = messages.GetEntryRequest(origin="house.localhost/answers", index=10**9)
        look = harness.logs().GetEntry
        for _ in range(ENTRIES):
            assert refusal(look, request) is Reason.ENTRY_UNKNOWN
    finally:
        harness.stop()
    return harness


@pytest.fixture
def harness(filled: GatewayHarness) -> Iterator[GatewayHarness]:
    """The gateway, whose files are afterwards as they were."""
    kept = filled.state.with_name("kept")
    shutil.copytree(filled.state, kept)
    yield filled
    filled.stop()
    shutil.rmtree(filled.state)
    kept.rename(filled.state)


def findings(
    harness: GatewayHarness, *words: str, code: int = 0
) -> dict[tuple[str, str], tuple[str, str]]:
    result = harness.command("doctor", "--json", *words)
    assert result.exit_code == code, result.output
    rows = json.loads(result.stdout)["databases"]
    return {(row["database"], row["check"]): (row["state"], row["found"]) for row in rows}


def edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(statement)


def test_sound_databases(harness: GatewayHarness) -> None:
    before = {path: path.read_bytes() for path in harness.state.glob("*.db")}
    found = findings(harness)
    assert {state for state, _ in found.values()} == {"ok"}
    for check in (
        *(("registry", each) for each in ("revision", "pages", "policies", "log", "whole log")),
        *(("answers", each) for each in ("revision", "pages", "log", "whole log", "disk")),
        *(("subjects", each) for each in ("revision", "pages", "write-ahead log")),
    ):
        assert check in found
    assert before == {path: path.read_bytes() for path in harness.state.glob("*.db")}
    quick = findings(harness, "--quick")
    assert quick["answers", "whole log"] == ("warning", "not looked at: --quick")


def test_beside_a_running_gateway(harness: GatewayHarness) -> None:
    harness.start()
    assert {state for state, _ in findings(harness).values()} == {"ok"}


def test_a_database_in_the_place_of_another(harness: GatewayHarness) -> None:
    """Neither the command nor a start changes it: put back, it is as it was."""
    before = {path: path.read_bytes() for path in harness.state.glob("*.db")}
    kept = harness.state / "answers.db.kept"
    (harness.state / "answers.db").rename(kept)
    (harness.state / "subjects.db").rename(harness.state / "answers.db")
    found = findings(harness, code=1)
    assert found["answers", "open"] == (
        "failed",
        "REGISTRY_UNAVAILABLE: this is the database of subjects, not of answers",
    )
    with pytest.raises(ConfigError, match="the database of subjects, not of answers"):
        harness.start()
    (harness.state / "answers.db").rename(harness.state / "subjects.db")
    kept.rename(harness.state / "answers.db")
    assert before.keys() == {*harness.state.glob("*.db")}
    harness.start()


def test_an_installation_that_never_ran(tmp_path: Path) -> None:
    harness = GatewayHarness(tmp_path / "state")
    assert set(findings(harness).values()) == {("ok", "not begun yet")}
    assert not list(harness.state.glob("*.db"))


EDITS = {
    "a damaged full tile": (
        "answers",
        'UPDATE log_tiles SET hashes = randomblob(8192) WHERE level = 0 AND "index" = 0',
        "whole log",
    ),
    "a changed entry": (
        "answers",
        "UPDATE log_leaves SET data = x'00' WHERE \"index\" = 7",
        "whole log",
    ),
    "an old checkpoint by nobody": (
        "answers",
        "UPDATE log_checkpoints SET note = 'x' WHERE size = 5",
        "whole log",
    ),
    "no newest checkpoint": (
        "answers",
        "DELETE FROM log_checkpoints WHERE size = (SELECT max(size) FROM log_checkpoints)",
        "log",
    ),
    "a deleted anchor": ("registry", "DELETE FROM anchors", "whole log"),
    "a deleted policy": ("registry", "DELETE FROM policies", "policies"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_database(harness: GatewayHarness, name: str) -> None:
    database, statement, check = EDITS[name]
    edit(harness.state / f"{database}.db", statement)
    state, text = findings(harness, code=1)[database, check]
    assert state == "failed"
    assert text.startswith(("LOG_INCONSISTENT", "POLICY_INVALID")), text


def test_a_database_that_was_put_back(harness: GatewayHarness) -> None:
    for path in harness.state.glob("answers.db*"):
        shutil.copy2(path, harness.state / f"{path.name}.before")
    harness.start()
    harness.command("audit", "as-of", "2026-11-25")
    harness.stop()
    for path in harness.state.glob("answers.db*.before"):
        path.rename(harness.state / path.name.removesuffix(".before"))
    state, text = findings(harness, code=1)["answers", "log"]
    assert (state, text.partition(":")[0]) == ("failed", "LOG_INCONSISTENT")


def test_a_damaged_page(harness: GatewayHarness) -> None:
    path = harness.state / "answers.db"
    edit(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    path.write_bytes(data)
    found = findings(harness, code=1)
    assert "failed" in {state for (name, _), (state, _) in found.items() if name == "answers"}
    assert found["registry", "whole log"][0] == "ok"


def test_a_database_that_is_gone_though_it_was_seen(harness: GatewayHarness) -> None:
    for path in harness.state.glob("answers.db*"):
        path.unlink()
    state, text = findings(harness, code=1)["answers", "open"]
    assert state == "failed"
    assert text.startswith(Reason.REGISTRY_UNAVAILABLE.name)
