"""State and log tell the same story, and an edited database is found out."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection, delete, func, insert, select, update

from registry.state import schema
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import (
    Freshness,
    Pointer,
    PointerBundle,
    verify_freshness,
)
from tests.support.builders.documents.people import refused
from tests.support.harness.registry import RegistryHarness, pointer_envelope
from tests.support.oracles.covered import check_covered

Edit = Callable[[Connection], object]


@pytest.fixture
def busy_harness(harness: RegistryHarness) -> RegistryHarness:
    """A registry in which something of every kind has happened."""
    one = harness.publish("one")
    first = harness.release(one)
    harness.release(harness.publish("two"), predecessor=1)
    harness.roll_back(first, 3)
    harness.revoke(harness.publish("three"))
    return harness


def edit(harness: RegistryHarness, change: Edit) -> None:
    """Change the database as a thief would, without any key."""
    with harness.database.writing() as connection:
        change(connection)
        connection.commit()


def test_everything_agrees(busy_harness: RegistryHarness) -> None:
    told: list[tuple[int, int]] = []
    verified = busy_harness.registry.verify(lambda done, total: told.append((done, total)))
    assert verified.size == busy_harness.registry.log.size()
    assert told[-1] == (verified.size, verified.size)
    busy_harness.reopen().verify()


def test_every_kind_of_row_has_its_entry(busy_harness: RegistryHarness) -> None:
    log = busy_harness.registry.log
    entries = [leaf for block in log.entries(0, log.size()) for leaf in block]
    kinds = {leaf.split(b'"event":"')[1].split(b'"')[0].decode() for leaf in entries}
    assert kinds == {
        "policy.accepted",
        "model.created",
        "watermark.committed",
        "version.registered",
        "proposal.created",
        "approval.added",
        "pointer.moved",
        "version.revoked",
    }


_LEAVES, _POINTERS = schema.LOG.leaves, schema.POINTERS
_NEWEST = _POINTERS.c.sequence == 3
_EDITS: dict[str, Edit] = {
    "a pointer deleted": lambda c: c.execute(delete(_POINTERS).where(_NEWEST)),
    "a pointer renumbered": lambda c: c.execute(
        update(_POINTERS).where(_NEWEST).values(sequence=4)
    ),
    "a pointer to another version": lambda c: c.execute(
        update(_POINTERS).where(_NEWEST).values(version=2)
    ),
    "a revocation deleted": lambda c: c.execute(delete(schema.REVOCATIONS)),
    "an approval by somebody else": lambda c: c.execute(
        update(schema.APPROVALS)
        .where(schema.APPROVALS.c.principal == "anna")
        .values(principal="carla")
    ),
    "an approval deleted": lambda c: c.execute(
        delete(schema.APPROVALS).where(schema.APPROVALS.c.principal == "anna")
    ),
    "a version dated back": lambda c: c.execute(
        update(schema.VERSIONS).values(time="2026-01-01T00:00:00Z")
    ),
    "a version by somebody else": lambda c: c.execute(
        update(schema.VERSIONS).values(principal="peter")
    ),
    "another signature": lambda c: c.execute(update(schema.VERSIONS).values(signature=b"{}")),
    "evidence deleted": lambda c: c.execute(delete(schema.EVIDENCE)),
    "evidence of another kind": lambda c: c.execute(update(schema.EVIDENCE).values(kind="other")),
    "a model added": lambda c: _forge_model(c),
    "an entry altered": lambda c: c.execute(
        update(_LEAVES).where(_LEAVES.c.index == 2).values(data=b"{}")
    ),
    "a tile altered": lambda c: c.execute(update(schema.LOG.tiles).values(hashes=b"0" * 32)),
    "a checkpoint deleted": lambda c: c.execute(
        delete(schema.LOG.checkpoints).where(
            schema.LOG.checkpoints.c.size
            == select(_LEAVES.c.index + 1)
            .order_by(_LEAVES.c.index.desc())
            .limit(1)
            .scalar_subquery()
        )
    ),
    "the freshness statement deleted": lambda c: c.execute(delete(schema.FRESHNESS)),
}


def _forge_model(connection: Connection) -> None:
    """A row with an entry, which no checkpoint covers."""
    index = connection.scalar(select(func.count()).select_from(_LEAVES))
    row = {"model": "forged", "entry": index, "time": "2026-11-25T10:00:00Z"}
    connection.execute(insert(_LEAVES), {"index": index, "data": b"{}"})
    connection.execute(insert(schema.MODELS), {**row, "principal": "paula"})


@pytest.mark.parametrize("name", _EDITS)
def test_an_edited_database_is_found_out(busy_harness: RegistryHarness, name: str) -> None:
    edit(busy_harness, _EDITS[name])
    with refused(Reason.LOG_INCONSISTENT):
        busy_harness.registry.verify()
    with refused(Reason.LOG_INCONSISTENT):
        busy_harness.reopen()


def test_an_older_pointer_is_not_declared_fresh(busy_harness: RegistryHarness) -> None:
    edit(busy_harness, _EDITS["a pointer deleted"])
    busy_harness.now += timedelta(hours=1)
    with refused(Reason.LOG_INCONSISTENT):
        busy_harness.registry.refresh()


def test_a_revoked_version_is_not_declared_fresh(busy_harness: RegistryHarness) -> None:
    edit(busy_harness, _EDITS["a revocation deleted"])
    busy_harness.now += timedelta(hours=1)
    with refused(Reason.LOG_INCONSISTENT):
        busy_harness.registry.refresh()


def test_an_older_pointer_is_not_covered(busy_harness: RegistryHarness) -> None:
    """An attacker replaces the newest pointer in the database with an old one."""
    older = busy_harness.registry.pointers.history("digits", "production").records[1]
    edit(
        busy_harness,
        lambda c: c.execute(update(_POINTERS).where(_NEWEST).values(bundle=older.bundle)),
    )
    pointer, freshness = seen_by_an_engine(busy_harness)
    with refused(Reason.POINTER_STALE):
        check_covered(pointer, freshness)


def test_an_older_statement_does_not_cover_it_for_long(busy_harness: RegistryHarness) -> None:
    """The freshness statement is replaced by an older one: who signed the newer shows that."""
    newest = busy_harness.registry.snapshot().freshness
    busy_harness.now += timedelta(hours=1)
    busy_harness.registry.refresh()
    edit(busy_harness, lambda c: c.execute(update(schema.FRESHNESS).values(envelope=newest)))
    pointer, freshness = seen_by_an_engine(busy_harness)
    check_covered(pointer, freshness)
    busy_harness.reopen()
    with refused(Reason.POINTER_STALE):
        seen_by_an_engine(busy_harness)
    assert busy_harness.registry.refresh()
    pointer, freshness = seen_by_an_engine(busy_harness)
    check_covered(pointer, freshness)


def seen_by_an_engine(harness: RegistryHarness) -> tuple[Pointer, Freshness]:
    snapshot = harness.registry.snapshot()
    envelope = Envelope.decode(snapshot.freshness)
    freshness = verify_freshness(envelope, harness.policy, harness.now)
    bundle = PointerBundle.decode(snapshot.live[0].bundle)
    return Pointer.decode(bundle.pointer.payload), freshness


def test_a_statement_by_another_key_is_not_gone_on_from(busy_harness: RegistryHarness) -> None:
    pointer = busy_harness.registry.pointers.get("digits", "production")
    forged = pointer_envelope(pointer).encode()
    edit(busy_harness, lambda c: c.execute(update(schema.FRESHNESS).values(envelope=forged)))
    with refused(Reason.LOG_INCONSISTENT):
        busy_harness.registry.refresh()
