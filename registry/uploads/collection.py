"""Removes files that no version names, while uploads continue.

Two rules keep every file that somebody needs:

1. A file is removed only within the database's one write transaction, after looking at all versions
   registered so far. A registration looks for its files in such a transaction too. It comes first,
   and the file stays; or it comes later, finds the file missing and is refused (FILE_MISSING). No
   version is ever without its files.
2. A file is removed only if it was stored before the grace time. An upload stores each of its files
   again, even existing ones, so the second case needs an upload longer than that.

Pointers, proposals and the log refer to versions only, and versions are never removed.

The registry's log lists the files before the first one is removed, so nothing is gone without an
entry, even if a collector is killed. A listed file that a version has named meanwhile stays.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from registry.state.events import ARTIFACTS_COLLECTED
from registry.state.schema import COLLECTIONS, VERSIONS
from registry.state.unit_of_work import Ledger
from registry.storage.artifacts import ArtifactStore, StoredFile
from sealgate.trust.statements import Manifest

# Other writers wait while files are removed, so they get their turn after this long.
_TURN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class CollectionResult:
    """The removed files by digest, or those that would be, and leftovers of aborted uploads."""

    files: tuple[StoredFile, ...]
    leftovers: int


class Collector:
    """Finds and removes what no version names, in the name of `principal`. Any process that may
    write the registry's database and its log can.
    """

    def __init__(self, ledger: Ledger, artifacts: ArtifactStore, principal: str) -> None:
        self._ledger = ledger
        self._artifacts = artifacts
        self._principal = principal
        self._named: set[str] = set()
        # The entries of versions up to this one have been looked at.
        self._entry = -1

    def collect(self, before: datetime, *, dry_run: bool) -> CollectionResult:
        """Remove every file that no version names and that was last put before that moment.

        1. The files that no version names are listed.
        2. The list gets its entry in the log, unless there is nothing on it.
        3. Those that no version has come to name since are removed.

        Raises SealgateError: REGISTRY_UNAVAILABLE, DOCUMENT_MALFORMED for a version whose manifest
        cannot be read, LOG_INCONSISTENT, RECORD_FAILED; nothing is removed after that.
        """
        # 1.
        with self._ledger.view() as connection:
            self._look(connection)
        unnamed = [
            file
            for file in self._artifacts.files()
            if file.put < before and file.digest not in self._named
        ]
        if unnamed and not dry_run:
            # 2.
            self._record(unnamed)
            # 3.
            unnamed = self._remove(unnamed, before)
        return CollectionResult(tuple(unnamed), self._artifacts.sweep(before, dry_run=dry_run))

    def _record(self, files: Sequence[StoredFile]) -> None:
        with self._ledger.change(self._principal) as unit:
            last = unit.connection.scalar(select(func.max(COLLECTIONS.c.number)))
            unit.add(
                ARTIFACTS_COLLECTED,
                number=(last or 0) + 1,
                files=len(files),
                bytes=sum(file.size for file in files),
                digests="\n".join(sorted(file.digest for file in files)),
            )
            unit.commit()

    def _remove(self, files: Iterable[StoredFile], before: datetime) -> list[StoredFile]:
        waiting = list(files)[::-1]
        removed = []
        while waiting:
            with self._ledger.database.writing() as connection:
                self._look(connection)
                until = time.monotonic() + _TURN_SECONDS
                while waiting and time.monotonic() < until:
                    file = waiting.pop()
                    kept = file.digest in self._named
                    if not kept and self._artifacts.remove(file.digest, before):
                        removed.append(file)
        return removed

    def _look(self, connection: Connection) -> None:
        """Learn which files the versions name that were registered since the last look."""
        query = select(VERSIONS.c.entry, VERSIONS.c.manifest).where(VERSIONS.c.entry > self._entry)
        for entry, manifest in connection.execute(query.order_by(VERSIONS.c.entry)):
            self._named.update(file.digest for file in Manifest.decode(bytes(manifest)).files)
            self._entry = entry
