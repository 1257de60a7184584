"""Every edit of the databases that somebody could make, and where it is found out.

The editor has full SQL access to both databases, and no key. Each row of the tables below is one
edit: it is refused at the start, or `sealgate audit verify` tells of it with its reason.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from demo.stage import free_ports
from gateway.app import build
from gateway.config.document import GatewayConfig
from gateway.config.sections import Listeners
from sealgate.reasons import Reason, SealgateError
from sealgate.v1 import log_pb2 as messages
from tests.support.harness.gateway import GatewayHarness, refusal

pytestmark = pytest.mark.slow

# One full tile, and some of the next.
ENTRIES = 270
START, VERIFY = "refused at the start", "told by the audit"
ANSWERS, REGISTRY = "answers.db", "registry.db"


@dataclass(frozen=True)
class Edit:
    """An edit of a database while no gateway runs, and the check that finds it."""

    database: str
    statement: str
    found: str


EDITS = {
    # entries
    "an entry is deleted": Edit(ANSWERS, 'DELETE FROM log_leaves WHERE "index" = 7', VERIFY),
    "an entry is changed": Edit(
        ANSWERS, "UPDATE log_leaves SET data = x'00' WHERE \"index\" = 7", VERIFY
    ),
    "the last entry is deleted": Edit(
        ANSWERS,
        'DELETE FROM log_leaves WHERE "index" = (SELECT max("index") FROM log_leaves)',
        START,
    ),
    "the last entry is changed": Edit(
        ANSWERS,
        "UPDATE log_leaves SET data = x'00' "
        'WHERE "index" = (SELECT max("index") FROM log_leaves)',
        START,
    ),
    "two entries are exchanged": Edit(
        ANSWERS,
        'UPDATE log_leaves SET "index" = -1 WHERE "index" = 7; '
        'UPDATE log_leaves SET "index" = 7 WHERE "index" = 8; '
        'UPDATE log_leaves SET "index" = 8 WHERE "index" = -1',
        VERIFY,
    ),
    "an entry is added": Edit(
        ANSWERS,
        "INSERT INTO log_leaves SELECT max(\"index\") + 1, x'00' FROM log_leaves",
        START,
    ),
    "an entry before the first is added": Edit(
        ANSWERS, "INSERT INTO log_leaves VALUES (-1, x'00')", VERIFY
    ),
    "the first tile's entries are deleted": Edit(
        ANSWERS, 'DELETE FROM log_leaves WHERE "index" < 256', VERIFY
    ),
    "every entry is deleted": Edit(ANSWERS, "DELETE FROM log_leaves", START),
    # tiles
    "a full tile is deleted": Edit(
        ANSWERS, 'DELETE FROM log_tiles WHERE level = 0 AND "index" = 0', VERIFY
    ),
    "a full tile is changed": Edit(
        ANSWERS,
        'UPDATE log_tiles SET hashes = randomblob(8192) WHERE level = 0 AND "index" = 0',
        VERIFY,
    ),
    "one hash of a full tile is changed": Edit(
        ANSWERS,
        "UPDATE log_tiles SET hashes = CAST(substr(hashes, 1, 224) || randomblob(32) || "
        'substr(hashes, 257) AS BLOB) WHERE level = 0 AND "index" = 0',
        VERIFY,
    ),
    "an unfinished tile is changed": Edit(
        ANSWERS,
        'UPDATE log_tiles SET hashes = zeroblob(length(hashes)) WHERE level = 0 AND "index" = 1',
        START,
    ),
    "an unfinished tile is deleted": Edit(
        ANSWERS, 'DELETE FROM log_tiles WHERE level = 0 AND "index" = 1', START
    ),
    "a tile above the leaves is changed": Edit(
        ANSWERS, "UPDATE log_tiles SET hashes = randomblob(32) WHERE level = 1", START
    ),
    "every tile is deleted": Edit(ANSWERS, "DELETE FROM log_tiles", START),
    # checkpoints and the writer
    "the newest checkpoint is deleted": Edit(
        ANSWERS,
        "DELETE FROM log_checkpoints WHERE size = (SELECT max(size) FROM log_checkpoints)",
        START,
    ),
    "the newest checkpoint is an older one": Edit(
        ANSWERS,
        "UPDATE log_checkpoints SET note = (SELECT note FROM log_checkpoints WHERE size = 5) "
        "WHERE size = (SELECT max(size) FROM log_checkpoints)",
        START,
    ),
    "a checkpoint of more entries is added": Edit(
        ANSWERS, "INSERT INTO log_checkpoints SELECT 9999, note FROM log_checkpoints LIMIT 1", START
    ),
    "every checkpoint is deleted": Edit(ANSWERS, "DELETE FROM log_checkpoints", START),
    "the tables are another log's": Edit(ANSWERS, "UPDATE log_writer SET origin = 'other'", START),
    "everything is deleted": Edit(
        ANSWERS,
        "DELETE FROM log_leaves; DELETE FROM log_tiles; DELETE FROM log_checkpoints; "
        "DELETE FROM log_sealed_openings; DELETE FROM log_writer",
        START,
    ),
    "the log is cut short to five entries": Edit(
        ANSWERS,
        'DELETE FROM log_leaves WHERE "index" >= 5; DELETE FROM log_checkpoints WHERE size > 5; '
        'DELETE FROM log_tiles WHERE level > 0 OR "index" > 0; '
        "UPDATE log_tiles SET hashes = CAST(substr(hashes, 1, 160) AS BLOB)",
        START,
    ),
    # the registry's, whose start compares everything
    "anchors are deleted": Edit(REGISTRY, "DELETE FROM anchors", START),
    "an anchor is of more entries": Edit(REGISTRY, "UPDATE anchors SET size = size + 1", START),
    "anchors and their entries are deleted": Edit(
        REGISTRY,
        'DELETE FROM log_leaves WHERE "index" IN (SELECT entry FROM anchors); DELETE FROM anchors',
        START,
    ),
    "an entry of the registry's is changed": Edit(
        REGISTRY, "UPDATE log_leaves SET data = x'00' WHERE \"index\" = 0", START
    ),
    "the registry's newest checkpoint is deleted": Edit(
        REGISTRY,
        "DELETE FROM log_checkpoints WHERE size = (SELECT max(size) FROM log_checkpoints)",
        START,
    ),
    "the registry's tiles are changed": Edit(
        REGISTRY, "UPDATE log_tiles SET hashes = zeroblob(length(hashes))", START
    ),
    "a policy is deleted": Edit(REGISTRY, "DELETE FROM policies", START),
    "the freshness statement is deleted": Edit(REGISTRY, "DELETE FROM freshness", START),
}


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    """A gateway that has recorded refusals, all anchored; it does not run."""
    harness = GatewayHarness(tmp_path_factory.mktemp("house") / "state")
    harness.start()
    try:
        look = harness.logs().GetEntry
        request = messages.GetEntryRequest(origin="house.localhost/answers", index=10**9)
        for _ in range(ENTRIES):
            assert refusal(look, request) is Reason.ENTRY_UNKNOWN
        told = harness.command("audit", "verify", "--wait", "60")
        assert told.exit_code == 0, told.output
        harness.stop()
        yield harness
    finally:
        harness.stop()


@pytest.fixture
def copied(harness: GatewayHarness) -> Iterator[GatewayHarness]:
    """The gateway, whose files are afterwards as they were."""
    kept = harness.state.with_name("kept")
    shutil.copytree(harness.state, kept)
    yield harness
    harness.stop()
    shutil.rmtree(harness.state)
    kept.rename(harness.state)


def edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(statement)
        database.commit()


def elsewhere(harness: GatewayHarness) -> GatewayConfig:
    config = GatewayConfig.read(harness.state / "gateway.toml")
    port = free_ports()
    return replace(config, listen=Listeners(f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"))


def start_is_refused(harness: GatewayHarness) -> bool:
    try:
        gateway = build(elsewhere(harness))
    except SealgateError as refused:
        return refused.reason in (Reason.LOG_INCONSISTENT, Reason.POLICY_INVALID)
    gateway.stop()
    return False


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_found_out(copied: GatewayHarness, name: str) -> None:
    made = EDITS[name]
    edit(copied.state / made.database, made.statement)
    if made.found == START:
        assert start_is_refused(copied)
        return
    copied.start()
    told = copied.command("audit", "verify")
    assert told.exit_code == 1, told.output
    assert Reason.LOG_INCONSISTENT.name in told.output


# The next entry writes the unfinished tile anew, and nobody but a writer reads whose tables it is.
_MENDED = {"an unfinished tile is changed", "the tables are another log's"}


@pytest.mark.parametrize(
    "name", [n for n, made in EDITS.items() if made.database == ANSWERS and n not in _MENDED]
)
def test_an_edit_under_a_running_gateway_is_told_by_the_audit(
    copied: GatewayHarness, name: str
) -> None:
    copied.start()
    edit(copied.state / ANSWERS, EDITS[name].statement)
    told = copied.command("audit", "verify")
    assert told.exit_code != 0, told.output
    # Or nothing can be recorded any more, so nothing is told.
    stopped = (Reason.LOG_FENCED, Reason.RECORD_FAILED)
    assert any(reason.name in told.output for reason in (Reason.LOG_INCONSISTENT, *stopped))


@pytest.mark.parametrize("name", [n for n, made in EDITS.items() if made.database == REGISTRY])
def test_an_edit_of_a_running_registry_is_refused_at_the_next_start(
    copied: GatewayHarness, name: str
) -> None:
    copied.start()
    edit(copied.state / REGISTRY, EDITS[name].statement)
    copied.stop()
    assert start_is_refused(copied)


def test_a_fresh_log_with_the_same_key_is_told_by_its_anchors(copied: GatewayHarness) -> None:
    """The database is exchanged, and so is the gateway's memory; the anchors stay."""
    for path in (*copied.state.glob("answers.db*"), copied.state / "seen-answers.note"):
        path.unlink()
    assert start_is_refused(copied)
