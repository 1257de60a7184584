"""Anchors: checkpoints of the answer logs, kept in the registry's log.

An answer log that was anchored cannot be cut short or rewritten unnoticed, even by whoever holds
its key and its file. The newest anchor is the log's, not the table's.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from registry.events import ANSWERS_ANCHORED
from registry.logged_state import LoggedAnchor
from registry.policies import PolicyBook
from registry.schema import ANCHORS
from registry.unit_of_work import Ledger
from sealgate.reasons import Reason, Refusal
from sealgate.trust.policy import Policy
from sealgate.trust.transparency import Checkpoint, open_checkpoint
from sealgate.trust.transparency.merkle import EMPTY_ROOT, verify_consistency


class Anchors:
    """The use cases around anchors."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def add(self, principal: str, note: str, proof: Sequence[bytes] = ()) -> int:
        """Anchor an answer log's checkpoint; return the index of the registry log's entry.

        `proof` shows that it extends the newest anchor of that log (RFC 9162, 2.1.4), and is
        empty for the first. A checkpoint that is anchored already gives the same entry.

        1. The policy names the log as an answer log (LOG_UNKNOWN).
        2. The log's key has signed the checkpoint (reasons of `open_checkpoint`).
        3. It does not go behind the newest anchor (LOG_INCONSISTENT) and extends it
           (PROOF_INVALID).
        """
        origin = note.partition("\n")[0]
        with self._ledger.change(principal) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            # 1.
            if not policy.is_answer_log(origin):
                raise Refusal(Reason.LOG_UNKNOWN, "not an answer log of the policy")
            # 2.
            checkpoint = open_checkpoint(note, policy.log_key(origin))
            # 3.
            newest = unit.logged().anchors.get(origin)
            if newest is not None and newest.note == note:
                return newest.entry
            _check_extends(newest, checkpoint, policy.log_key(origin), proof)
            entry = unit.add(ANSWERS_ANCHORED, origin=origin, size=checkpoint.size, note=note)
            unit.commit()
        return entry

    def newest(self, origin: str) -> Checkpoint | None:
        """Return the newest anchored checkpoint of an answer log, checked against its key.

        Raises Refusal: LOG_UNKNOWN, and like `open_checkpoint`.
        """
        with self._ledger.view() as connection:
            policy = self._book.read(connection).newest
        anchor = self._ledger.logged().anchors.get(origin)
        return None if anchor is None else open_checkpoint(anchor.note, policy.log_key(origin))


def newest_anchor(connection: Connection, origin: str, policy: Policy) -> Checkpoint | None:
    """Return the newest anchored checkpoint of an answer log, as the table has it.

    For who has compared the table with the log; see `Anchors.newest`.
    """
    query = select(ANCHORS.c.note).where(ANCHORS.c.origin == origin)
    note = connection.scalar(query.order_by(ANCHORS.c.size.desc()).limit(1))
    return None if note is None else open_checkpoint(note, policy.log_key(origin))


def _check_extends(
    newest: LoggedAnchor | None, checkpoint: Checkpoint, vkey: str, proof: Sequence[bytes]
) -> None:
    size, root = 0, EMPTY_ROOT
    if newest is not None:
        before = open_checkpoint(newest.note, vkey)
        size, root = before.size, before.root
        if checkpoint.size <= size:
            raise Refusal(Reason.LOG_INCONSISTENT, f"{checkpoint.size} after {size} leaves")
    verify_consistency(size, root, checkpoint.size, checkpoint.root, proof)
