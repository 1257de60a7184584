"""Every edit that somebody with full SQL access makes is named: table, row, column.

The walk takes every table and every column from the schema, so none is forgotten.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Connection,
    LargeBinary,
    Table,
    Text,
    create_engine,
    delete,
    insert,
    select,
    text,
    update,
)

from registry.answers.answer_log import AnswerLog
from registry.audit.erasures import PlannedErasure, Prunings
from registry.audit.rebuild import Rebuild
from registry.log.inspection import Difference, Edit
from registry.state import events, schema
from registry.state.replay import replay
from registry.state.unit_of_work import Ledger, RequestKey
from registry.uploads.collection import Collector
from sealgate.trust.canonical import sha256
from sealgate.trust.policy import EvidenceRules, Principal
from sealgate.trust.policy.principals import Passkeys
from sealgate.trust.policy.screening import ScreeningPolicy, ScreeningRules, StepUpRule
from sealgate.trust.statements import Comment, Evidence, sign_statement
from sealgate.trust.statements.covering import EngineCounts
from tests.support.builders.documents.allowances import an_allowance, held
from tests.support.builders.documents.authenticator import Authenticator
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    REGISTRY_LOG,
    VERSION_DIGEST,
    at,
    key,
)
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.registry import RegistryHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TABLES = schema.METADATA.sorted_tables
# Columns that the log does not hold; `registry.audit.rebuild` says why.
UNTOLD = {("requests", "request_id"), ("requests", "digest"), ("log_writer", "epoch")}
LEAVES, TILES = schema.LOG.leaves, schema.LOG.tiles


@pytest.fixture
def busy_harness(empty_harness: RegistryHarness, tmp_path: Path) -> RegistryHarness:
    """A registry in which something of every kind has happened."""
    harness = empty_harness.found()
    registry = harness.registry
    public = key("engine-1").public
    engine = Principal("engine-1", ("engine",), (public.keyid,), ())
    people, keys = harness.policy.principals, harness.policy.keys
    screens = ScreeningPolicy({"digits": ScreeningRules(step_up=StepUpRule("approver", 900))})
    passkey = Authenticator("anna")
    people = tuple(
        replace(p, keys=(*p.keys, passkey.keyid)) if p.name == "anna" else p for p in people
    )
    harness.accept(
        principals=(*people, engine),
        keys={**keys, public.keyid: public},
        screens=screens,
        webauthn=Passkeys({passkey.keyid: passkey.passkey}),
    )
    first = harness.release(harness.publish("one"))
    harness.release(harness.publish("two"), predecessor=1)
    harness.roll_back(first, 3)
    harness.revoke(harness.publish("three"))
    version = registry.versions.get("digits", 2)
    harness.reject(harness.comment(harness.propose(version, predecessor=3).digest).digest)
    other = harness.propose(version, predecessor=3, created=at(hours=-1))
    word = Comment(other.digest, "anna", "By passkey.", at())
    registry.replies.comment("anna", passkey.envelope(word, counter=3).encode())
    harness.withdraw(other.digest)
    log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
    for _ in range(2):
        log.append([an_answer()] * 150)
    registry.anchors.add("gateway", log.note)
    log.close()
    word = an_allowance()
    registry.allowances.use(sign_statement(word, key("anna")), held(word))
    registry.drifts.withdraw("gateway", ANSWER_LOG, "digits", 1, {"requests": 300})
    digest = registry.versions.get("digits", 1).digest
    report = Evidence(EvidenceRules.RED_TEAM, digest, "anna", at(), {"attacks": {}})
    envelope = sign_statement(report, key("anna")).encode()
    registry.attachments.attach("anna", "digits", 1, envelope)
    registry.erasures.add("carla", ANSWER_LOG, "e" * 64, PlannedErasure(2, 300, "f" * 64))
    registry.refusals.count("gateway", ANSWER_LOG, {"TOKEN_EXPIRED": 3})
    expires = harness.now + timedelta(days=7)
    registry.api_keys.create("otto", "0123456789ab", "carla", "nightly", expires, "d" * 64)
    registry.api_keys.revoke("otto", "0123456789ab", "leaked")
    ran = EngineCounts("engine-1", "0f" * 16, 1, at(hours=-1), at(), ((VERSION_DIGEST, 2, 7),))
    registry.engine_counts.add("gateway", sign_statement(ran, key("engine-1")))
    harness.upload({"unwanted.json": b"{}"})
    ledger = Ledger.join(harness.database, REGISTRY_LOG, key("registry-log"), harness.clock)
    later = datetime.now(UTC) + timedelta(hours=1)
    Collector(ledger, harness.artifacts, "operator:root").collect(later, dry_run=False)
    before = harness.now + timedelta(hours=1)
    Prunings(ledger, "operator:root").add(ANSWER_LOG, 256, before, lambda start, end: 1)
    registry.models.create("paula", "cats", RequestKey(str(uuid.uuid4()), sha256(b"cats")))
    return harness


@contextmanager
def intruder(harness: RegistryHarness) -> Iterator[Connection]:
    """A connection that no constraint binds, and whose edits are taken back in the end."""
    if harness.url.startswith("sqlite"):
        engine = create_engine(harness.url)
        with engine.connect() as connection:
            yield connection
            connection.rollback()
        engine.dispose()
        return
    with harness.database.writing() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        yield connection


def found(connection: Connection, harness: RegistryHarness) -> list[Difference]:
    return list(Rebuild(connection, harness.policy).differences())


def edited(column: Any, value: Any) -> Any:
    if isinstance(column.type, LargeBinary):
        return b"edited"
    return value + "x" if isinstance(column.type, Text) else value + 1000


def first_row(connection: Connection, table: Table) -> dict[str, Any]:
    order = [*table.primary_key]
    return dict(connection.execute(select(table).order_by(*order).limit(1)).mappings().one())


def is_row(table: Table, row: dict[str, Any]) -> list[Any]:
    return [column == row[column.name] for column in table.primary_key]


def named(differences: list[Difference], table: str, edit: Edit, column: str = "") -> bool:
    return any((d.table, d.edit, d.column) == (table, edit, column) for d in differences)


def test_an_honest_database_is_what_its_log_says(busy_harness: RegistryHarness) -> None:
    with intruder(busy_harness) as connection:
        assert found(connection, busy_harness) == []
        rebuild = Rebuild(connection, busy_harness.policy)
        assert list(rebuild.differences()) == []
        assert rebuild.size == busy_harness.registry.log.size()
        for table in TABLES:
            assert connection.execute(select(table)).first() is not None, table.name


def test_each_entry_tells_each_column_of_its_row(busy_harness: RegistryHarness) -> None:
    log = busy_harness.registry.log
    told = set()
    for index in range(log.size()):
        row = replay(index, log.entry(index))
        assert row is not None
        assert row.columns.keys() == {column.name for column in row.table.columns}
        told.add(row.table)
    assert told == {event.table for event in events.EVENTS}


def test_every_edit_of_every_column_is_named(busy_harness: RegistryHarness) -> None:
    unnamed = []
    for table in TABLES:
        for column in table.columns:
            with intruder(busy_harness) as connection:
                row = first_row(connection, table)
                value = edited(column, row[column.name])
                change = update(table).where(*is_row(table, row)).values({column.name: value})
                assert connection.execute(change).rowcount == 1
                differences = found(connection, busy_harness)
                is_named = named(differences, table.name, Edit.ALTERED, column.name)
                if column.primary_key and not is_named:
                    edits = {d.edit for d in differences if d.table == table.name}
                    is_named = edits >= {Edit.MISSING, Edit.ADDED}
                if not is_named and (table.name, column.name) not in UNTOLD:
                    unnamed.append((table.name, column.name, differences))
                others = {d.table for d in differences} - {table.name}
                # An edited checkpoint, leaf or tile may cast doubt on what it covers.
                if not table.name.startswith("log_") and others - {"freshness", "evidence"}:
                    unnamed.append((table.name, column.name, differences))
    assert unnamed == []


def test_every_deleted_row_is_named(busy_harness: RegistryHarness) -> None:
    for table in TABLES:
        if table.name in ("requests", "log_checkpoints"):
            continue
        with intruder(busy_harness) as connection:
            row = first_row(connection, table)
            connection.execute(delete(table).where(*is_row(table, row)))
            assert named(found(connection, busy_harness), table.name, Edit.MISSING), table.name


def test_every_added_row_is_named(busy_harness: RegistryHarness) -> None:
    for table in TABLES:
        with intruder(busy_harness) as connection:
            row = first_row(connection, table)
            forged = {c.name: edited(c, row[c.name]) for c in table.columns}
            connection.execute(insert(table), forged)
            mine = [d for d in found(connection, busy_harness) if d.table == table.name]
            assert mine, table.name
            if table.name not in ("requests", "log_checkpoints"):
                assert Edit.ADDED in {d.edit for d in mine}, table.name


def test_the_newest_checkpoint_deleted(busy_harness: RegistryHarness) -> None:
    table = schema.LOG.checkpoints
    with intruder(busy_harness) as connection:
        size = busy_harness.registry.log.size()
        connection.execute(delete(table).where(table.c.size == size))
        differences = found(connection, busy_harness)
        assert named(differences, "log_checkpoints", Edit.MISSING)
        assert named(differences, "log_leaves", Edit.ADDED)


def test_what_each_says_is_shown(busy_harness: RegistryHarness) -> None:
    pointers = schema.POINTERS
    with intruder(busy_harness) as connection:
        change = update(pointers).where(pointers.c.sequence == 2).values(version=1)
        connection.execute(change)
        (difference,) = found(connection, busy_harness)
    assert difference == Difference(
        "pointers", "digits/production/2", Edit.ALTERED, "version", "2", "1"
    )


def test_a_leaf_and_its_row_edited_together(busy_harness: RegistryHarness) -> None:
    """The entry made to fit the edited row, without the log's key."""
    models = schema.MODELS
    with intruder(busy_harness) as connection:
        connection.execute(update(models).where(models.c.model == "cats").values(principal="otto"))
        row = dict(
            connection.execute(select(models).where(models.c.model == "cats")).mappings().one()
        )
        leaf = events.MODEL_CREATED.entry(row)
        connection.execute(update(LEAVES).where(LEAVES.c.index == row["entry"]).values(data=leaf))
        differences = found(connection, busy_harness)
    assert named(differences, "log_leaves", Edit.ALTERED, "data")
    assert [d.key for d in differences if d.table == "models"] == ["cats"]


def test_leaves_and_tiles_edited_together(busy_harness: RegistryHarness) -> None:
    with intruder(busy_harness) as connection:
        connection.execute(update(LEAVES).where(LEAVES.c.index == 3).values(data=b"{}"))
        connection.execute(update(TILES).where(TILES.c.level == 0).values(hashes=b"0" * 32))
        differences = found(connection, busy_harness)
    roots = [d for d in differences if d.table == "log_leaves" and d.key == ""]
    assert len(roots) == 1
    assert "neither" in roots[0].database


def test_evidence_added_to_a_version(busy_harness: RegistryHarness) -> None:
    table = schema.EVIDENCE
    with intruder(busy_harness) as connection:
        row = first_row(connection, table)
        connection.execute(insert(table), {**row, "position": row["position"] + 1})
        (difference,) = found(connection, busy_harness)
    assert (difference.table, difference.edit) == ("evidence", Edit.ADDED)


def test_an_older_freshness_statement_put_back(busy_harness: RegistryHarness) -> None:
    older = busy_harness.registry.snapshot().freshness
    busy_harness.release(busy_harness.publish("four"), predecessor=3)
    table = schema.FRESHNESS
    with intruder(busy_harness) as connection:
        connection.execute(update(table).values(envelope=older))
        differences = found(connection, busy_harness)
    assert named(differences, "freshness", Edit.ALTERED, "envelope")
