"""Read-only checks of a database: its files, its log, and its tables against the log."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.engine import make_url

from registry.log.rows import LogTables, inconsistent, newest_checkpoint, next_index
from registry.log.verification import Progress, VerifiedLog, check_extends, verify_log
from registry.models import evidence_of, evidence_text
from registry.state.events import EVENTS, VERSION_REGISTERED, Event
from registry.state.schema import EVIDENCE, LOG
from registry.storage import revisions
from registry.storage.database import Database
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Evidence
from sealgate.trust.transparency import Checkpoint, open_checkpoint


@dataclass(frozen=True, slots=True)
class FileSizes:
    """Sizes of a SQLite database in bytes: its file, its write-ahead log, and free disk space."""

    file: int
    wal: int
    free: int


def file_of(place: Path | str) -> Path | None:
    """The file of a database; None where a server keeps it."""
    if isinstance(place, Path):
        return place
    url = make_url(place)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def sizes(path: Path) -> FileSizes:
    """Raises OSError."""
    wal = path.with_name(f"{path.name}-wal")
    return FileSizes(
        path.stat().st_size,
        wal.stat().st_size if wal.exists() else 0,
        shutil.disk_usage(path.parent).free,
    )


@contextmanager
def opened(place: Path | str, family: str) -> Iterator[Database]:
    """A database that there is, as it is. Raises SealgateError(REGISTRY_UNAVAILABLE)."""
    database = Database.open_unchanged(place, family)
    try:
        yield database
    finally:
        database.close()


def revision(connection: Connection, family: str) -> tuple[str, str]:
    """The revision of the tables, and the one to which this release brings them.

    Raises SealgateError(REGISTRY_UNAVAILABLE) for those of another family.
    """
    try:
        revisions.check_family(connection, family)
    except revisions.TablesOfAnother as error:
        raise SealgateError(Reason.REGISTRY_UNAVAILABLE, str(error)) from error
    return revisions.current(connection), revisions.newest(family)


def damage(connection: Connection) -> list[str]:
    """Return what SQLite's quick check finds; other databases check themselves."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.exec_driver_sql("PRAGMA quick_check(5)").scalars()
    return [str(line) for line in found if line != "ok"]


def check_log(
    connection: Connection, tables: LogTables, vkey: str, known: Iterable[Checkpoint]
) -> int:
    """Check a log's newest checkpoint; return how many entries it has.

    1. It is signed by `vkey`, and there are as many leaves as it says.
    2. It extends each checkpoint that others know of it.

    Raises SealgateError: LOG_INCONSISTENT, SIGNATURE_INVALID, DOCUMENT_MALFORMED.
    """
    # 1.
    newest, count = newest_checkpoint(connection, tables), next_index(connection, tables)
    if newest is None:
        raise inconsistent("there is no checkpoint")
    signed = open_checkpoint(newest.note, vkey)
    if not count == newest.size == signed.size:
        raise inconsistent(f"{count} leaves under a checkpoint of {signed.size}")
    # 2.
    for checkpoint in known:
        check_extends(connection, tables, signed, checkpoint)
    return count


def reconcile(connection: Connection, vkey: str, progress: Progress | None = None) -> VerifiedLog:
    """Compare all rows of state with all entries of the log.

    1. Each version's evidence is what its row refers to, and there is no other.
    2. No entry has two rows.
    3. The log verifies as a whole (see `verify_log`), and each of its entries is the one that
       its row leads to.
    4. No row lacks an entry.

    Raises SealgateError(LOG_INCONSISTENT).
    """
    # 1.
    _check_evidence(connection)
    # 2.
    expected: dict[int, str] = {}
    for event in EVENTS:
        for row in _rows(connection, event):
            if row["entry"] in expected:
                raise inconsistent(f"entry {row['entry']} has two rows")
            expected[row["entry"]] = sha256(event.entry(row))

    # 3.
    def compare(index: int, leaf: bytes) -> None:
        if expected.pop(index, "") != sha256(leaf):
            raise inconsistent(f"entry {index} is not what the tables say")

    verified = verify_log(connection, LOG, vkey, progress=progress, visit=compare)
    # 4.
    if expected:
        raise inconsistent(f"{len(expected)} rows have no entry")
    return verified


def _rows(connection: Connection, event: Event) -> Iterator[dict[str, Any]]:
    for row in connection.execute(select(event.table)).mappings():
        yield dict(row)


def _tell(envelope: bytes) -> tuple[str, str, str]:
    opened = Envelope.decode(envelope)
    statement = Evidence.decode(opened.payload)
    return statement.kind, opened.payload_digest, statement.maker


def _check_evidence(connection: Connection) -> None:
    places = select(EVIDENCE.c.model, EVIDENCE.c.version).distinct()
    versions = {(row.model, row.version) for row in connection.execute(places)}
    for row in _rows(connection, VERSION_REGISTERED):
        versions.discard((row["model"], row["version"]))
        items = evidence_of(connection, row["model"], row["version"])
        envelopes = [bytes(item["envelope"]) for item in items]
        told = [(item["kind"], item["digest"], item["maker"]) for item in items]
        if evidence_text(envelopes) != row["evidence"] or told != list(map(_tell, envelopes)):
            raise inconsistent(f"other evidence of {row['model']}/{row['version']}")
    if versions:
        raise inconsistent("evidence without its version")
