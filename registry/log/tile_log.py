"""The writer of a log: appends entries and signs the new tree.

The log keeps its right edge (a `Frontier`) in memory. An append writes leaves, tiles and a signed
checkpoint in the caller's transaction. After the commit the caller calls `settle`, so a failed
commit leaves the log unchanged.

A log has one writer, or its writers share it:
- An answer log belongs to one process: the last one that opened it. Each append checks this by an
  epoch in its own transaction.
- The gateways of a registry write its log in turn: the database allows one write at a time. A
  writer first reads what the others have added, which must extend what it saw last. So two never
  sign different trees of one size, and a database that was replaced by an older or another one is
  refused by every writer that saw more of it.
"""

import threading
from collections.abc import Sequence

from sqlalchemy import Connection, update

from registry.log import rows
from registry.log.rows import (
    LARGEST_GROUP,
    LARGEST_LEAF,
    Appended,
    AppendStatements,
    CheckpointMemory,
    LogTables,
    TileRows,
    inconsistent,
    newest_checkpoint,
)
from registry.log.verification import check_extends, check_newest_leaves, load, open_own, take_epoch
from registry.storage.database import Database
from registry.storage.driver import DriverTransaction
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import Signer
from sealgate.trust.transparency import (
    Checkpoint,
    CheckpointSigner,
    RotatingSigner,
    log_vkey,
)
from sealgate.trust.transparency.merkle import leaf_hash, verify_inclusion
from sealgate.trust.transparency.tiles import Frontier, inclusion_proof


class TileLog:
    """A writer of a log. `lock` is held from an append until it is settled or dropped.

    `epoch` is None where writers share the log.
    """

    def __init__(
        self,
        tables: LogTables,
        origin: str,
        signer: Signer,
        epoch: int | None,
        frontier: Frontier,
        note: str,
        memory: CheckpointMemory | None = None,
    ) -> None:
        self.origin = origin
        self.lock = threading.Lock()
        self._tables = tables
        self._signer = signer
        self._epoch = epoch
        self._frontier = frontier
        self._note = note
        self._unsettled: Appended | None = None
        self._halted = ""
        self._memory = memory
        self._statements = AppendStatements(tables)
        # The signer before a hand-over that no anchor has told yet.
        self._before: CheckpointSigner | None = None
        self._use_signer()

    @classmethod
    def open(
        cls,
        database: Database,
        tables: LogTables,
        origin: str,
        signer: Signer,
        *,
        known: Checkpoint | None = None,
        memory: CheckpointMemory | None = None,
        shared: bool = False,
    ) -> "TileLog":
        """Become the log's writer, or one of those who share it; where it is not shared, an
        earlier one can append no more.

        1. The newest checkpoint is signed by this log's key.
        2. There are as many leaves as it says.
        3. The unfinished tiles lead to its root, and hold the hashes of the leaves under them. Full
           tiles and their leaves are what `verify_log` compares, for whoever asks for it.
        4. It extends `known`, a checkpoint that somebody else remembers (an anchor, a witness), and
           the one in `memory`; a log put back whole to an older state shows in nothing else.
        5. From here on, `memory` has each checkpoint before anybody else is shown it.

        A log without a checkpoint is new, must be empty, and signs the empty tree. Raises
        SealgateError: LOG_INCONSISTENT, REGISTRY_UNAVAILABLE or RECORD_FAILED.
        """
        remembered = memory.checkpoint if memory is not None else None
        with database.writing() as connection:
            epoch = take_epoch(connection, tables, origin)
            frontier, note = load(connection, tables, origin, signer)
            check_newest_leaves(connection, tables, frontier.size, origin)
            # 4.
            for seen in filter(None, (known, remembered)):
                check_extends(connection, tables, frontier, seen)
            connection.commit()
        log = cls(tables, origin, signer, None if shared else epoch, frontier, note, memory)
        # 5.
        log._remember()
        return log

    @property
    def size(self) -> int:
        """Return the number of leaves."""
        return self._frontier.size

    @property
    def note(self) -> str:
        """The newest signed checkpoint."""
        return self._note

    @property
    def seen(self) -> Checkpoint:
        """The newest state that was signed or taken over here."""
        frontier = self._frontier
        return Checkpoint(self.origin, frontier.size, frontier.root)

    @property
    def signer(self) -> Signer:
        """The key that signs now. Raises SealgateError(LOG_INCONSISTENT) after `halt`."""
        if self._halted:
            raise inconsistent(self._halted)
        return self._signer.signers[0] if isinstance(self._signer, RotatingSigner) else self._signer

    def _use_signer(self) -> None:
        """Sign with the key that the signer has now."""
        self.vkey = log_vkey(self.origin, self._signer)
        self._checkpoints = CheckpointSigner(self.origin, self._signer)

    def follows(self, wanted: str) -> bool:
        """Whether `wanted`, a log's verifier keys as a policy has them, name the key that signs
        now, or the next one, to which this log can be handed over. The present one must then be
        among the former ones.
        """
        own, (current, *former) = self.vkey.split("\n"), wanted.split("\n")
        if current == own[0]:
            return True
        return self._has_next and current == own[1] and own[0] in former

    @property
    def _has_next(self) -> bool:
        return isinstance(self._signer, RotatingSigner) and not self._signer.is_handed_over

    def hand_over(self, database: Database, wanted: str) -> bool:
        """Go on under the next key where `wanted` names it; return whether that was done. Until
        `end_hand_over`, both keys sign, so that readers who know either follow.

        Raises SealgateError: LOG_INCONSISTENT as `check_turn`, also where the next key is another;
        RECORD_FAILED, REGISTRY_UNAVAILABLE.
        """
        if wanted.split("\n")[0] == self.vkey.split("\n")[0]:
            return False
        if not self.follows(wanted) or not isinstance(self._signer, RotatingSigner):
            raise inconsistent(f"{self.origin}: the policy names a key that is not here")
        with self.lock, database.writing() as connection:
            self.check_turn(DriverTransaction.of(connection))
            if not self._has_next:
                return False
            size, checkpoints = self._frontier.size, self._tables.checkpoints
            before = self._checkpoints
            self._signer.hand_over(size)
            self._use_signer()
            self._before = before
            note = self._sign(size, self._frontier.root)
            at = checkpoints.c.size == size
            connection.execute(update(checkpoints).where(at).values(note=note))
            connection.commit()
            self._note = note
            self._remember()
        return True

    def end_hand_over(self) -> None:
        """Sign with the new key alone from now on."""
        with self.lock:
            self._before = None

    def _sign(self, size: int, root: bytes) -> str:
        note = self._checkpoints.sign(size, root)
        if self._before is None:
            return note
        text, _, lines = note.partition("\n\n")
        # Its own line alone: an ML-DSA key beside it is the same, and signs once.
        former, _, _ = self._before.sign(size, root).removeprefix(f"{text}\n\n").partition("\n")
        return f"{text}\n\n{former}\n{lines}"

    def halt(self, detail: str) -> None:
        """Sign nothing any more, for somebody has seen another log under this key."""
        self._halted = detail

    def check_turn(self, transaction: DriverTransaction) -> None:
        """Check that this may append, and keep others out until the commit.

        Raises SealgateError: LOG_FENCED when another writer has taken over, LOG_INCONSISTENT when
        the database's newest checkpoint is not the one that was signed last, nor, where the log is
        shared, an extension of it; or after `halt`.
        """
        epoch, note = transaction.one(self._statements.turn, (self.origin,)) or (None, None)
        if self._epoch is not None and epoch != self._epoch:
            raise SealgateError(Reason.LOG_FENCED, f"epoch {self._epoch} of {self.origin} is over")
        self._take_over(transaction.connection, note)

    def catch_up(self, connection: Connection) -> None:
        """Remember what others have added to a shared log. Call it with `lock` held since before
        the transaction began.

        Raises SealgateError(LOG_INCONSISTENT) when it does not extend what was seen last.
        """
        newest = newest_checkpoint(connection, self._tables)
        self._take_over(connection, None if newest is None else newest.note)

    def check_newest(self, connection: Connection, seen: Checkpoint) -> None:
        """Check, without the lock, what `catch_up` checks; `seen` is from before the transaction
        began.

        Raises SealgateError(LOG_INCONSISTENT).
        """
        newest = newest_checkpoint(connection, self._tables)
        if self._halted or newest is None:
            raise inconsistent(self._halted or f"{self.origin}: no checkpoint")
        signed = open_own(newest.note, self.origin, self._signer)
        check_extends(connection, self._tables, signed, seen)

    def _take_over(self, connection: Connection | None, note: str | None) -> None:
        if self._halted:
            raise inconsistent(self._halted)
        if note != self._note and self._unsettled and note == self._unsettled.note:
            # That commit was reported as failed, yet it had reached the database.
            self.settle(self._unsettled)
        if note == self._note:
            return
        if self._epoch is not None or note is None or connection is None:
            raise inconsistent(f"{self.origin}: not the checkpoint that was signed last")
        frontier, note = load(connection, self._tables, self.origin, self._signer)
        self._use_signer()
        check_extends(connection, self._tables, frontier, self.seen)
        self._frontier, self._note, self._unsettled = frontier, note, None
        self._remember()

    def check_holds(self, connection: Connection, index: int, leaf: bytes) -> None:
        """Check that entry `index` of the tree that was signed last is this leaf.

        Raises SealgateError(LOG_INCONSISTENT).
        """
        size = self._frontier.size
        try:
            if not 0 <= index < size:
                raise inconsistent(f"there is no entry {index}")
            proof = inclusion_proof(TileRows(connection, self._tables), index, size)
            verify_inclusion(leaf_hash(leaf), index, size, proof, self._frontier.root)
        except SealgateError as error:
            raise inconsistent(f"{self.origin}: entry {index} is another") from error

    def append(
        self,
        transaction: DriverTransaction,
        leaves: Sequence[bytes],
        hashes: Sequence[bytes] | None = None,
    ) -> Appended:
        """Append 1 to 256 leaves of at most 65,535 bytes in the caller's transaction.

        `hashes` are the leaves' own, for whoever has them. Call it with `lock` held and after
        `check_turn`; then `check_written`, commit, `settle`. Raises ValueError for a group of
        another size.
        """
        if not 1 <= len(leaves) <= LARGEST_GROUP or max(map(len, leaves)) > LARGEST_LEAF:
            raise ValueError("a group has 1 to 256 leaves, each of at most 65535 bytes")
        first = self._frontier.size
        frontier = self._frontier.append(hashes or list(map(leaf_hash, leaves)))
        size = frontier.size
        note = self._sign(size, frontier.root)
        transaction.run_many(self._statements.add_leaf, enumerate(leaves, first))
        for tile in frontier.tiles:
            transaction.run(*self._statements.store(tile, first))
        transaction.run(self._statements.add_checkpoint, (size, note))
        appended = Appended(first, size, note, frontier)
        self._unsettled = appended
        return appended

    def check_written(
        self, transaction: DriverTransaction, appended: Appended, leaves: Sequence[bytes]
    ) -> None:
        """Check, last before the commit, that the leaves are there as they were appended.

        Raises SealgateError(LOG_INCONSISTENT): a trigger has deleted or changed some.
        """
        rows.run_deferred_triggers(transaction)
        stored = transaction.all(self._statements.leaves, (appended.first, appended.size))
        if stored != [(leaf,) for leaf in leaves]:
            raise inconsistent(f"{self.origin}: a trigger changed entries from {appended.first} on")

    def settle(self, appended: Appended) -> None:
        """Take over what an append wrote, after its commit and before anybody is told of it.

        Raises SealgateError(RECORD_FAILED) where it cannot be remembered; the entries are recorded
        then, and nobody may be answered.
        """
        self._frontier = appended.frontier
        self._note = appended.note
        self._unsettled = None
        self._remember()

    def _remember(self) -> None:
        if self._memory is None:
            return
        try:
            self._memory.keep(self._note)
        except OSError as error:
            detail = f"{self.origin}: the checkpoint cannot be remembered: {error}"
            raise SealgateError(Reason.RECORD_FAILED, detail) from error
