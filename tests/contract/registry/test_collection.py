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
from tests.support.bureau import Bureau, version_files
from tests.support.people import REGISTRY_LOG, key, p256_key, refused

DATA = b"nobody names these"
DIGEST = sha256(DATA)
HOUR = timedelta(hours=1)


def later() -> datetime:
    """A grace time after which all that was put until now is old."""
    return datetime.now(UTC) + HOUR


def collector(bureau: Bureau, store: ArtifactStore | None = None) -> Collector:
    """A collector in a process of its own, beside the registry's."""
    ledger = Ledger.join(bureau.database, REGISTRY_LOG, key("registry-log"), bureau.clock)
    return Collector(ledger, store or bureau.artifacts, "operator:root")


def collect(bureau: Bureau, *, dry_run: bool = False) -> CollectionResult:
    return collector(bureau).collect(later(), dry_run=dry_run)


def register(bureau: Bureau, manifest: Manifest) -> None:
    bureau.registry.versions.register(
        "paula",
        "digits",
        manifest.encode(),
        oms.sign(manifest, p256_key("paula")),
        [bureau.evidence(manifest)],
        bureau.commitment(),
    )


def removed(found: CollectionResult) -> set[str]:
    return {file.digest for file in found.files}


def test_what_no_version_names_goes_and_the_rest_stays(bureau):
    version = bureau.publish()
    bureau.release(version)
    bureau.artifacts.put([DATA], len(DATA), DIGEST)
    assert removed(collect(bureau, dry_run=True)) == {DIGEST}
    assert DIGEST in bureau.artifacts
    assert removed(collect(bureau)) == {DIGEST}
    assert DIGEST not in bureau.artifacts
    bureau.registry.versions.check_bytes("digits", 1)
    bureau.registry.verify()


def test_a_revoked_version_keeps_its_files(bureau):
    bureau.revoke(bureau.publish())
    assert not collect(bureau).files
    bureau.registry.versions.check_bytes("digits", 1)


def test_files_within_the_grace_time_stay(bureau):
    bureau.artifacts.put([DATA], len(DATA), DIGEST)
    before = datetime.now(UTC) - HOUR
    assert not collector(bureau).collect(before, dry_run=False).files
    assert DIGEST in bureau.artifacts


def test_leftovers_of_killed_uploads_go(bureau):
    left = bureau.folder / "artifacts" / "incoming" / "tmpkilled"
    left.write_bytes(b"half")
    assert collect(bureau, dry_run=True).leftovers == 1
    assert left.exists()
    fresh = collector(bureau)
    assert fresh.collect(datetime.now(UTC) - HOUR, dry_run=False).leftovers == 0
    assert collect(bureau).leftovers == 1
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


def test_a_version_registered_after_the_listing_keeps_its_files(bureau):
    manifest = bureau.upload(version_files("small"))
    store = Interrupted(bureau.artifacts, listed=lambda: register(bureau, manifest))
    assert not collector(bureau, store).collect(later(), dry_run=False).files
    bureau.registry.versions.check_bytes("digits", 1)


def test_nobody_registers_while_a_file_is_removed(bureau):
    """The registration waits for its turn, finds its files gone, and says so."""
    manifest = bureau.upload(version_files("small"))
    tried = []

    def try_to_register() -> None:
        if not tried:
            with refused(Reason.REGISTRY_UNAVAILABLE):
                register(bureau, manifest)
            tried.append(True)

    store = Interrupted(bureau.artifacts, removing=try_to_register)
    found = collector(bureau, store).collect(later(), dry_run=False)
    assert tried
    assert removed(found) == {file.digest for file in manifest.files}
    with refused(Reason.FILE_MISSING):
        register(bureau, manifest)
    with refused(Reason.VERSION_UNKNOWN):
        bureau.registry.versions.get("digits", 1)


def test_files_that_vanish_between_their_check_and_the_registration(bureau, monkeypatch):
    manifest = bureau.upload(version_files("small"))
    check = oms.verify

    def collecting(*arguments):
        # In the registration's transaction, by which time nobody collects any more.
        for file in manifest.files:
            bureau.artifacts.remove(file.digest, later())
        return check(*arguments)

    monkeypatch.setattr(oms, "verify", collecting)
    commitment = bureau.commitment()
    evidence = [bureau.evidence(manifest)]
    signature = oms.sign(manifest, p256_key("paula"))
    with refused(Reason.FILE_MISSING):
        bureau.registry.versions.register(
            "paula", "digits", manifest.encode(), signature, evidence, commitment
        )


def test_an_old_file_that_is_uploaded_again_after_the_listing_stays(bureau):
    bureau.artifacts.put([DATA], len(DATA), DIGEST)
    stored = bureau.folder / "artifacts" / DIGEST[7:9] / DIGEST[9:]
    os.utime(stored, (1, 1))
    store = Interrupted(
        bureau.artifacts, listed=lambda: bureau.artifacts.put([DATA], len(DATA), DIGEST)
    )
    before = datetime.now(UTC) - HOUR
    assert not collector(bureau, store).collect(before, dry_run=False).files
    assert DIGEST in bureau.artifacts


def entries(bureau: Bureau) -> list[dict[str, Any]]:
    """The entries of the registry's log that tell of collections."""
    log = bureau.registry.log
    found = [canonical.decode(leaf) for block in log.entries(0, log.size()) for leaf in block]
    return [entry for entry in found if entry["event"] == "artifacts.collected"]


def test_what_was_collected_is_in_the_log(bureau):
    bureau.publish()
    size = bureau.registry.log.size()
    collect(bureau, dry_run=True)
    collect(bureau)
    # Nothing was there to be collected.
    assert bureau.registry.log.size() == size
    for number in (1, 2):
        bureau.artifacts.put([DATA], len(DATA), DIGEST)
        collect(bureau, dry_run=True)
        assert len(entries(bureau)) == number - 1
        collect(bureau)
        entry = entries(bureau)[-1]
        assert entry["principal"] == "operator:root"
        assert entry["subject"] == f"collections/{number}"
        digests = sha256(DIGEST.encode())
        assert entry["body"] == {"files": 1, "bytes": len(DATA), "digests": digests}
    # The registry that runs beside it goes on after those entries.
    bureau.registry.models.create("paula", "letters")
    bureau.registry.verify()


def test_nothing_is_removed_before_its_entry_is_on_the_disk(bureau):
    bureau.artifacts.put([DATA], len(DATA), DIGEST)

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collector(bureau, Interrupted(bureau.artifacts, removing=die)).collect(
            later(), dry_run=False
        )
    assert len(entries(bureau)) == 1
    bureau.registry.verify()


def test_an_edited_list_is_found_out(bureau):
    bureau.artifacts.put([DATA], len(DATA), DIGEST)
    collect(bureau)
    with bureau.database.writing() as connection:
        connection.execute(update(COLLECTIONS).values(digests=""))
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        bureau.registry.verify()


def test_a_database_without_a_registry_removes_nothing(tmp_path: Path, bureau):
    database = Database.open(tmp_path / "another.db", "registry")
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Ledger.join(database, REGISTRY_LOG, key("registry-log"), bureau.clock)
    database.close()
