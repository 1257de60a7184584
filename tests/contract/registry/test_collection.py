"""Collecting what no version names, on either database, while others upload and register."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from registry.artifacts import ArtifactStore, StoredFile
from registry.collection import Collected, Collector
from registry.database import Database
from sealgate.reasons import Reason
from sealgate.trust import oms
from sealgate.trust.digest import sha256
from sealgate.trust.manifest import Manifest
from tests.support.bureau import Bureau, version_files
from tests.support.people import p256_key, refused

DATA = b"nobody names these"
DIGEST = sha256(DATA)
HOUR = timedelta(hours=1)


def later() -> datetime:
    """A grace time after which all that was put until now is old."""
    return datetime.now(UTC) + HOUR


def collect(bureau: Bureau, *, dry_run: bool = False) -> Collected:
    return Collector(bureau.database, bureau.artifacts).collect(later(), dry_run=dry_run)


def register(bureau: Bureau, manifest: Manifest) -> None:
    bureau.registry.versions.register(
        "paula",
        "digits",
        manifest.encode(),
        oms.sign(manifest, p256_key("paula")),
        [bureau.evidence(manifest)],
        bureau.commitment(),
    )


def removed(found: Collected) -> set[str]:
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
    assert not Collector(bureau.database, bureau.artifacts).collect(before, dry_run=False).files
    assert DIGEST in bureau.artifacts


def test_leftovers_of_killed_uploads_go(bureau):
    left = bureau.folder / "artifacts" / "incoming" / "tmpkilled"
    left.write_bytes(b"half")
    assert collect(bureau, dry_run=True).leftovers == 1
    assert left.exists()
    fresh = Collector(bureau.database, bureau.artifacts)
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
    assert not Collector(bureau.database, store).collect(later(), dry_run=False).files
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
    found = Collector(bureau.database, store).collect(later(), dry_run=False)
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
    assert not Collector(bureau.database, store).collect(before, dry_run=False).files
    assert DIGEST in bureau.artifacts


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_database_without_a_registry_removes_nothing(tmp_path: Path, bureau, dry_run):
    bureau.artifacts.put([DATA], len(DATA), DIGEST)
    database = Database.open(tmp_path / "another.db", "registry")
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Collector(database, bureau.artifacts).collect(later(), dry_run=dry_run)
    database.close()
    assert DIGEST in bureau.artifacts
