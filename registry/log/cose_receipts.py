"""COSE receipts and transparent statements of a log's entries, signed when somebody asks.

What the log's key signs here follows from the log alone, byte for byte: the root of its tree, and
entries that are in it. A signed root serves every entry under it, so asking again for the same
entries signs nothing again.
"""

import threading
from collections.abc import Callable

from registry.log.reader import LogReader
from registry.log.rows import inconsistent
from registry.log.tile_log import TileLog
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys.cose_sign1 import Sign1
from sealgate.trust.receipts.cose_receipt import (
    CoseReceipt,
    TransparentStatement,
    sign_entry,
    sign_root,
)
from sealgate.trust.transparency import Checkpoint
from sealgate.trust.transparency.merkle import leaf_hash, verify_inclusion


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
