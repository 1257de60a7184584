"""Reads a log: entries, proofs, verification of the whole, and COSE receipts of its entries.

A reader needs no key of the log's and fences nobody; each call sees one state of the database.

COSE receipts are signed when somebody asks. The log's key signs only bytes that follow from the log
alone: the root of its tree, and entries that are in it. A signed root serves every entry under it,
so asking again for the same entries signs nothing again.
"""

import threading
from collections.abc import Callable, Iterator, Sequence

from sqlalchemy import select

from registry.log import rows
from registry.log.rows import LogTables, TileRows, inconsistent
from registry.log.tile_log import TileLog
from registry.log.verification import Progress, VerifiedLog, verify_log
from registry.storage.database import Database
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys.cose import Sign1
from sealgate.trust.receipts.cose_receipt import (
    CoseReceipt,
    TransparentStatement,
    sign_entry,
    sign_root,
)
from sealgate.trust.transparency import Checkpoint, origin_of, tiles
from sealgate.trust.transparency.merkle import HASH_SIZE, leaf_hash, verify_inclusion

LARGEST_READ = 1024
# No log has 256 to the power of eight leaves.
_HIGHEST = 7


class LogReader:
    """Reads the log in `tables` whose checkpoints `vkey` signs, at that time; see `log_vkey`."""

    def __init__(self, database: Database, tables: LogTables, vkey: Callable[[], str]) -> None:
        self.origin = origin_of(vkey())
        self._vkey = vkey
        self._database = database
        self._tables = tables

    @property
    def vkey(self) -> str:
        """The verifier keys of the log now."""
        return self._vkey()

    def checkpoint(self) -> str:
        """Return the newest signed checkpoint. Raises SealgateError(LOG_UNKNOWN) before the
        first.
        """
        with self._database.reading() as connection:
            newest = rows.newest_checkpoint(connection, self._tables)
        if newest is None:
            raise SealgateError(Reason.LOG_UNKNOWN, f"{self.origin} was never opened")
        return newest.note

    def size(self) -> int:
        """Return how many leaves the newest checkpoint covers."""
        with self._database.reading() as connection:
            newest = rows.newest_checkpoint(connection, self._tables)
        return 0 if newest is None else newest.size

    def entry(self, index: int) -> bytes:
        """Return one leaf's bytes. Raises SealgateError: ENTRY_UNKNOWN, ENTRY_PRUNED."""
        table = self._tables.leaves
        with self._database.reading() as connection:
            data = connection.scalar(select(table.c.data).where(table.c.index == index))
            first = rows.first_index(connection, self._tables) if data is None else 0
        if data is None:
            reason = Reason.ENTRY_PRUNED if 0 <= index < first else Reason.ENTRY_UNKNOWN
            raise SealgateError(reason, f"{self.origin} has no entry {index}")
        return bytes(data)

    def first(self) -> int:
        """Return the first entry that was not pruned; 0 where none was."""
        with self._database.reading() as connection:
            return rows.first_index(connection, self._tables)

    def entries(self, start: int, end: int) -> Iterator[list[bytes]]:
        """Yield the leaves from `start` up to `end` in order, in lists of at most 1024.

        Each list is read in a transaction of its own, so a slow taker holds up nobody. Raises
        SealgateError: ENTRY_UNKNOWN for a range that the log does not have, ENTRY_PRUNED where it
        begins before what is kept, LOG_INCONSISTENT when a leaf is missing.
        """
        if not 0 <= start <= end <= self.size():
            raise SealgateError(
                Reason.ENTRY_UNKNOWN, f"{self.origin} has no entries {start} to {end}"
            )
        if start < min(end, kept := self.first()):
            raise SealgateError(Reason.ENTRY_PRUNED, f"{self.origin} begins at entry {kept}")
        for first in range(start, end, LARGEST_READ):
            last = min(first + LARGEST_READ, end)
            with self._database.reading() as connection:
                blocks = list(rows.leaves(connection, self._tables, first, last))
            yield from blocks

    def hashes(self, start: int, end: int, level: int = 0) -> Iterator[bytes]:
        """Yield the hashes of a level of tiles from `start` up to `end`, in parts of at most 256 of
        32 bytes each: of leaves, or of complete subtrees of 256 to the power of `level` leaves.

        They are kept of pruned entries too. Raises SealgateError: ENTRY_UNKNOWN, LOG_INCONSISTENT.
        """
        if not 0 <= level <= _HIGHEST or not 0 <= start <= end <= self.size() >> (
            tiles.HEIGHT * level
        ):
            detail = f"{self.origin} has no hashes {start} to {end} of level {level}"
            raise SealgateError(Reason.ENTRY_UNKNOWN, detail)
        while start < end:
            index, skipped = divmod(start, tiles.WIDTH)
            width = min(tiles.WIDTH, end - index * tiles.WIDTH)
            with self._database.reading() as connection:
                found = TileRows(connection, self._tables).read(level, index, width)
            yield found[skipped * HASH_SIZE :]
            start = index * tiles.WIDTH + width

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Prove that entry `index` is in the tree of `size` leaves (RFC 9162, 2.1.3).

        Raises SealgateError: ENTRY_UNKNOWN for an index or size that the log does not have.
        """
        with self._database.reading() as connection:
            newest = rows.newest_checkpoint(connection, self._tables)
            if newest is None or not 0 <= index < size <= newest.size:
                raise SealgateError(Reason.ENTRY_UNKNOWN, f"no entry {index} under size {size}")
            return tuple(tiles.inclusion_proof(TileRows(connection, self._tables), index, size))

    def proven(
        self, indices: Sequence[int], size: int
    ) -> dict[int, tuple[bytes, tuple[bytes, ...]]]:
        """Return leaves with their proofs in the tree of `size`, as far as they are kept.

        Each tile is read once for all of them. Raises SealgateError(ENTRY_UNKNOWN) like
        `inclusion`.
        """
        table = self._tables.leaves
        query = select(table).where(table.c.index.in_(indices))
        with self._database.reading() as connection:
            found = {r["index"]: bytes(r["data"]) for r in connection.execute(query).mappings()}
            proofs = tiles.inclusion_proofs(TileRows(connection, self._tables), found, size)
        pairs = zip(found.items(), proofs, strict=True)
        return {index: (leaf, tuple(hashes)) for (index, leaf), hashes in pairs}

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Prove that the tree of `new` leaves extends that of `old` (RFC 9162, 2.1.4).

        Raises SealgateError: ENTRY_UNKNOWN for a size that the log does not have.
        """
        with self._database.reading() as connection:
            newest = rows.newest_checkpoint(connection, self._tables)
            if newest is None or not 0 <= old <= new <= newest.size:
                raise SealgateError(Reason.ENTRY_UNKNOWN, f"no sizes {old} and {new}")
            return tuple(tiles.consistency_proof(TileRows(connection, self._tables), old, new))

    def verify(self, progress: Progress | None = None, pruned: int = 0) -> VerifiedLog:
        """Recompute the whole log, of whose entries the first `pruned` may be gone; see
        `verify_log`. Raises SealgateError(LOG_INCONSISTENT).
        """
        with self._database.reading() as connection:
            return verify_log(connection, self._tables, self.vkey, progress=progress, pruned=pruned)


class CoseReceipts:
    """Makes them for one log. `look` checks that the database extends what was seen of the log."""

    def __init__(self, log: TileLog, reader: LogReader, look: Callable[[], None]) -> None:
        self._log = log
        self._reader = reader
        self._look = look
        self._lock = threading.Lock()
        self._newest: tuple[Checkpoint, Sign1] | None = None

    def receipt(self, index: int) -> CoseReceipt:
        """Return the receipt of an entry, which may be pruned: its hash is kept.

        1. The database extends the tree that was seen last, and the log was not halted.
        2. The proof leads from the entry's hash to the signed root.

        Raises SealgateError: ENTRY_UNKNOWN, also for a tree of one entry; LOG_INCONSISTENT.
        """
        return self._receipt(index, b"".join(self._reader.hashes(index, index + 1)))

    def statement(self, index: int) -> TransparentStatement:
        """Return an entry as a statement with its receipt. Raises as `receipt`; ENTRY_PRUNED."""
        entry = self._reader.entry(index)
        receipt = self._receipt(index, leaf_hash(entry))
        signed = sign_entry(self._log.origin, index, entry, self._log.signer)
        return TransparentStatement(signed, (receipt,))

    def _receipt(self, index: int, leaf: bytes) -> CoseReceipt:
        # 1.
        tree, signed = self._signed(index)
        hashes = self._reader.inclusion(index, tree.size)
        # 2.
        try:
            verify_inclusion(leaf, index, tree.size, hashes, tree.root)
        except SealgateError as error:
            raise inconsistent(f"{tree.origin}: entry {index} is another") from error
        if not hashes:
            raise SealgateError(Reason.ENTRY_UNKNOWN, f"{tree.origin}: the only entry of its tree")
        return CoseReceipt(signed, tree.size, index, hashes)

    def _signed(self, index: int) -> tuple[Checkpoint, Sign1]:
        """A signed tree that has an entry: the one that was signed last, where that does."""
        with self._lock:
            self._look()
            signer = self._log.signer
            newest = self._newest
            if newest is None or not (
                index < newest[0].size and newest[1].kid == signer.public.keyid
            ):
                tree = self._log.seen
                if not 0 <= index < tree.size:
                    raise SealgateError(Reason.ENTRY_UNKNOWN, f"{tree.origin} has no {index}")
                newest = self._newest = (tree, sign_root(tree, signer))
            return newest
