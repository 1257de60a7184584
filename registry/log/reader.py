"""Reading a log: entries, proofs, and the check of the whole.

A reader needs no key of the log's and fences nobody; each call sees one state of the database.
"""

from collections.abc import Iterator

from sqlalchemy import select

from registry.database import Database
from registry.log import rows
from registry.log.rows import TileRows
from registry.log.tables import LogTables
from registry.log.verification import Progress, Verified, verify_log
from sealgate.reasons import Reason, Refusal
from sealgate.trust import tiles
from sealgate.trust.note import Verifier

LARGEST_READ = 1024


class LogReader:
    """Reads the log in `tables` whose checkpoints `vkey` (a C2SP verifier key) signs."""

    def __init__(self, database: Database, tables: LogTables, vkey: str) -> None:
        self.origin = Verifier.from_vkey(vkey).name
        self.vkey = vkey
        self._database = database
        self._tables = tables

    def checkpoint(self) -> str:
        """Return the newest signed checkpoint. Raises Refusal(LOG_UNKNOWN) before the first."""
        with self._database.reading() as connection:
            newest = rows.newest_checkpoint(connection, self._tables)
        if newest is None:
            raise Refusal(Reason.LOG_UNKNOWN, f"{self.origin} was never opened")
        return newest.note

    def size(self) -> int:
        """Return how many leaves the newest checkpoint covers."""
        with self._database.reading() as connection:
            newest = rows.newest_checkpoint(connection, self._tables)
        return 0 if newest is None else newest.size

    def entry(self, index: int) -> bytes:
        """Return one leaf's bytes. Raises Refusal(ENTRY_UNKNOWN)."""
        table = self._tables.leaves
        with self._database.reading() as connection:
            data = connection.scalar(select(table.c.data).where(table.c.index == index))
        if data is None:
            raise Refusal(Reason.ENTRY_UNKNOWN, f"{self.origin} has no entry {index}")
        return bytes(data)

    def entries(self, start: int, end: int) -> Iterator[list[bytes]]:
        """Yield the leaves from `start` up to `end` in order, in lists of at most 1024.

        Each list is read in a transaction of its own, so a slow taker holds up nobody. Raises
        Refusal: ENTRY_UNKNOWN for a range that the log does not have, LOG_INCONSISTENT when a
        leaf is missing.
        """
        if not 0 <= start <= end <= self.size():
            raise Refusal(Reason.ENTRY_UNKNOWN, f"{self.origin} has no entries {start} to {end}")
        for first in range(start, end, LARGEST_READ):
            last = min(first + LARGEST_READ, end)
            with self._database.reading() as connection:
                blocks = list(rows.leaves(connection, self._tables, first, last))
            yield from blocks

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Prove that entry `index` is in the tree of `size` leaves (RFC 9162, 2.1.3).

        Raises Refusal: ENTRY_UNKNOWN for an index or size that the log does not have.
        """
        with self._database.reading() as connection:
            newest = rows.newest_checkpoint(connection, self._tables)
            if newest is None or not 0 <= index < size <= newest.size:
                raise Refusal(Reason.ENTRY_UNKNOWN, f"no entry {index} under size {size}")
            return tuple(tiles.inclusion_proof(TileRows(connection, self._tables), index, size))

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Prove that the tree of `new` leaves extends that of `old` (RFC 9162, 2.1.4).

        Raises Refusal: ENTRY_UNKNOWN for a size that the log does not have.
        """
        with self._database.reading() as connection:
            newest = rows.newest_checkpoint(connection, self._tables)
            if newest is None or not 0 <= old <= new <= newest.size:
                raise Refusal(Reason.ENTRY_UNKNOWN, f"no sizes {old} and {new}")
            return tuple(tiles.consistency_proof(TileRows(connection, self._tables), old, new))

    def verify(self, progress: Progress | None = None) -> Verified:
        """Recompute the whole log; see `verify_log`. Raises Refusal(LOG_INCONSISTENT)."""
        with self._database.reading() as connection:
            return verify_log(connection, self._tables, self.vkey, progress=progress)
