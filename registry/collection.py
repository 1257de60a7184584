"""Removing the files that no version names, while uploads go on.

Two things keep every file that somebody needs:

1. A file is removed only while the database's one write transaction is ours, and after all
   versions that were registered until then have been looked at. A registration looks for its
   files in such a transaction too. So it comes either first, and the file stays; or after, finds
   the file missing, and is refused (FILE_MISSING): no version is ever without its files.
2. A file is removed only when it was put before the grace time. An upload puts each of its files,
   even those that are there already, so the second case needs an upload longer than that.

Whatever a pointer, a proposal or the log refers to is a version, and versions are never removed.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from registry.artifacts import ArtifactStore, StoredFile
from registry.database import Database
from registry.log.rows import newest_checkpoint
from registry.schema import LOG, VERSIONS
from sealgate.reasons import Reason, Refusal
from sealgate.trust.manifest import Manifest

# Other writers wait while files are removed, so they get their turn after this long.
_TURN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed, or would be: files by digest, and leftovers of uploads that broke off."""

    files: tuple[StoredFile, ...]
    leftovers: int


class Collector:
    """Finds and removes what no version names. Any process that may write the database can."""

    def __init__(self, database: Database, artifacts: ArtifactStore) -> None:
        self._database = database
        self._artifacts = artifacts
        self._named: set[str] = set()
        # The entries of versions up to this one have been looked at.
        self._entry = -1

    def collect(self, before: datetime, *, dry_run: bool) -> Collected:
        """Remove every file that no version names and that was last put before that moment.

        Raises Refusal: REGISTRY_UNAVAILABLE, also for a database in which no registry ever began
        (it would name nothing), or DOCUMENT_MALFORMED for a version whose manifest cannot be read;
        nothing is removed after that.
        """
        with self._database.reading() as connection:
            if newest_checkpoint(connection, LOG) is None:
                raise Refusal(Reason.REGISTRY_UNAVAILABLE, "the database holds no registry")
            self._look(connection)
        unnamed = [
            file
            for file in self._artifacts.files()
            if file.put < before and file.digest not in self._named
        ]
        if not dry_run:
            unnamed = self._remove(unnamed, before)
        return Collected(tuple(unnamed), self._artifacts.sweep(before, dry_run=dry_run))

    def _remove(self, files: Iterable[StoredFile], before: datetime) -> list[StoredFile]:
        waiting = list(files)[::-1]
        removed = []
        while waiting:
            with self._database.writing() as connection:
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
