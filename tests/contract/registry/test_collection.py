"""Collecting what no version names, on either database, while others upload and register."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from registry.state.schema import COLLECTIONS
from registry.state.unit_of_work import Ledger
from registry.storage.artifacts import ArtifactStore, StoredFile
from registry.storage.database import Database
from registry.uploads.collection import CollectionResult, Collector
from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Manifest, oms
from tests.support.builders.documents.people import REGISTRY_LOG, key, p256_key, refused
from tests.support.harness.registry import RegistryHarness, version_files

DATA = b"nobody names these"
DIGEST = sha256(DATA)
HOUR = timedelta(hours=1)


def later() -> datetime:
    """A grace time after which all that was put until now is old."""
    return datetime.now(UTC) + HOUR


def collector(harness: RegistryHarness, store: ArtifactStore | None = None) -> Collector:
    """A collector in a process of its own, beside the registry's."""
    ledger = Ledger.join(harness.database, REGISTRY_LOG, key("registry-log"), harness.clock)
    return Collector(ledger, store or harness.artifacts, "operator:root")


def collect(harness: RegistryHarness, *, dry_run: bool = False) -> CollectionResult:
    return collector(harness).collect(later(), dry_run=dry_run)


def register(harness: RegistryHarness, manifest: Manifest) -> None:
    harness.registry.versions.register(
        "paula",
        "digits",
        manifest.encode(),
        oms.sign(manifest, p256_key("paula")),
        [harness.evidence(manifest)],
        harness.commitment(),
    )


def removed(found: CollectionResult) -> set[str]:
    return {file.digest for file in found.files}


def test_what_no_version_names_goes_and_the_rest_stays(harness):
    version = harness.publish()
    harness.release(version)
    harness.artifacts.put([DATA], len(DATA), DIGEST)
    assert removed(collect(harness, dry_run=True)) == {DIGEST}
    assert DIGEST in harness.artifacts
    assert removed(collect(harness)) == {DIGEST}
    assert DIGEST not in harness.artifacts
    harness.registry.versions.check_bytes("digits", 1)
    harness.registry.verify()


def test_a_revoked_version_keeps_its_files(harness):
    harness.revoke(harness.publish())
    assert not collect(harness).files
    harness.registry.versions.check_bytes("digits", 1)


def test_files_within_the_grace_time_stay(harness):
    harness.artifacts.put([DATA], len(DATA), DIGEST)
    before = datetime.now(UTC) - HOUR
    assert not collector(harness).collect(before, dry_run=False).files
    assert DIGEST in harness.artifacts


def test_leftovers_of_killed_uploads_go(harness):
    left = harness.folder / "artifacts" / "incoming" / "tmpkilled"
    left.write_bytes(b"half")
    assert collect(harness, dry_run=True).leftovers == 1
    assert left.exists()
    fresh = collector(harness)
    assert fresh.collect(datetime.now(UTC) - HOUR, dry_run=False).leftovers == 0
    assert collect(harness).leftovers == 1
    assert not left.exists()


class Interrupted:
    """A store to which something happens once it has been listed, or before it removes."""

    def __init__(self, store: ArtifactStore, *, listed=None, removing=None) -> None:
        self._store = store
        self._listed = listed
        self._removing = removing

    def files(self) -> list[StoredFile]:
        found = list(self._store.files())
        if self._listed:
            self._listed()
        return found

    def remove(self, digest: str, before: datetime) -> bool:
        if self._removing:
            self._removing()
        return self._store.remove(digest, before)

    def sweep(self, before: datetime, *, dry_run: bool) -> int:
        return self._store.sweep(before, dry_run=dry_run)


def test_a_version_registered_after_the_listing_keeps_its_files(harness):
    manifest = harness.upload(version_files("small"))
    store = Interrupted(harness.artifacts, listed=lambda: register(harness, manifest))
    assert not collector(harness, store).collect(later(), dry_run=False).files
    harness.registry.versions.check_bytes("digits", 1)


def test_nobody_registers_while_a_file_is_removed(harness):
    """The registration waits for its turn, finds its files gone, and says so."""
    manifest = harness.upload(version_files("small"))
    tried = []

    def try_to_register() -> None:
        if not tried:
            with refused(Reason.REGISTRY_UNAVAILABLE):
                register(harness, manifest)
            tried.append(True)

    store = Interrupted(harness.artifacts, removing=try_to_register)
    found = collector(harness, store).collect(later(), dry_run=False)
    assert tried
    assert removed(found) == {file.digest for file in manifest.files}
    with refused(Reason.FILE_MISSING):
        register(harness, manifest)
    with refused(Reason.VERSION_UNKNOWN):
        harness.registry.versions.get("digits", 1)


def test_files_that_vanish_between_their_check_and_the_registration(harness, monkeypatch):
    manifest = harness.upload(version_files("small"))
    check = oms.verify

    def collecting(*arguments):
        # In the registration's transaction, by which time nobody collects any more.
        for file in manifest.files:
            harness.artifacts.remove(file.digest, later())
        return check(*arguments)

    monkeypatch.setattr(oms, "verify", collecting)
    commitment = harness.commitment()
    evidence = [harness.evidence(manifest)]
    signature = oms.sign(manifest, p256_key("paula"))
    with refused(Reason.FILE_MISSING):
        harness.registry.versions.register(
            "paula", "digits", manifest.encode(), signature, evidence, commitment
        )


def test_an_old_file_that_is_uploaded_again_after_the_listing_stays(harness):
    harness.artifacts.put([DATA], len(DATA), DIGEST)
    stored = harness.folder / "artifacts" / DIGEST[7:9] / DIGEST[9:]
    os.utime(stored, (1, 1))
    store = Interrupted(
        harness.artifacts, listed=lambda: harness.artifacts.put([DATA], len(DATA), DIGEST)
    )
    before = datetime.now(UTC) - HOUR
    assert not collector(harness, store).collect(before, dry_run=False).files
    assert DIGEST in harness.artifacts


def entries(harness: RegistryHarness) -> list[dict[str, Any]]:
    """The entries of the registry's log that tell of collections."""
    log = harness.registry.log
    found = [canonical.decode(leaf) for block in log.entries(0, log.size()) for leaf in block]
    return [entry for entry in found if entry["event"] == "artifacts.collected"]


def test_what_was_collected_is_in_the_log(harness):
    harness.publish()
    size = harness.registry.log.size()
    collect(harness, dry_run=True)
    collect(harness)
    # Nothing was there to be collected.
    assert harness.registry.log.size() == size
    for number in (1, 2):
        harness.artifacts.put([DATA], len(DATA), DIGEST)
        collect(harness, dry_run=True)
        assert len(entries(harness)) == number - 1
        collect(harness)
        entry = entries(harness)[-1]
        assert entry["principal"] == "operator:root"
        assert entry["subject"] == f"collections/{number}"
        digests = sha256(DIGEST.encode())
        assert entry["body"] == {"files": 1, "bytes": len(DATA), "digests": digests}
    # The registry that runs beside it goes on after those entries.
    harness.registry.models.create("paula", "letters")
    harness.registry.verify()


def test_nothing_is_removed_before_its_entry_is_on_the_disk(harness):
    harness.artifacts.put([DATA], len(DATA), DIGEST)

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collector(harness, Interrupted(harness.artifacts, removing=die)).collect(
            later(), dry_run=False
        )
    assert len(entries(harness)) == 1
    harness.registry.verify()


def test_an_edited_list_is_found_out(harness):
    harness.artifacts.put([DATA], len(DATA), DIGEST)
    collect(harness)
    with harness.database.writing() as connection:
        connection.execute(update(COLLECTIONS).values(digests=""))
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        harness.registry.verify()


def test_a_database_without_a_registry_removes_nothing(tmp_path: Path, harness):
    database = Database.open(tmp_path / "another.db", "registry")
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Ledger.join(database, REGISTRY_LOG, key("registry-log"), harness.clock)
    database.close()
