"""Reports of gateways and engines to the registry's log: anchors, engine counts, refusal counts.

An anchor is a checkpoint of an answer log in the registry's log. An anchored answer log can't be
cut short or rewritten unnoticed, even by someone who holds its key and its file. The newest anchor
is read from the log, not from the table.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, func, select

from registry.policy import PolicyBook, check_answer_log
from registry.state.events import ANSWERS_ANCHORED, ENGINE_COUNTED, REFUSALS_COUNTED
from registry.state.logged_state import LoggedAnchor
from registry.state.schema import ANCHORS, ENGINE_COUNTS, REFUSALS
from registry.state.unit_of_work import Ledger
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.statements import open_statement
from sealgate.trust.statements.covering import ENGINE, EngineCounts
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
            check_answer_log(policy, origin)
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

        Raises SealgateError: LOG_UNKNOWN, and like `open_checkpoint`.
        """
        with self._ledger.view() as connection:
            policy = self._book.read(connection).newest
        anchor = self._ledger.logged().anchors.get(origin)
        return None if anchor is None else open_checkpoint(anchor.note, policy.log_key(origin))


def newest_anchor(connection: Connection, origin: str, policy: Policy) -> Checkpoint | None:
    """Return the newest anchored checkpoint of an answer log, as the table has it.

    For readers that have compared the table with the log; see `Anchors.newest`.
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
            raise SealgateError(Reason.LOG_INCONSISTENT, f"{checkpoint.size} after {size} leaves")
    verify_consistency(size, root, checkpoint.size, checkpoint.root, proof)


class EngineCountsBook:
    """The use cases around engines' counts."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def add(self, principal: str, envelope: Envelope) -> bool:
        """Log a statement that says more than the one before it; say whether it did.

        1. An engine of the policy has signed it (reasons of `open_statement`).
        2. Nothing in it shrank since its instance's newest, which is the log's (LOG_INCONSISTENT).

        Raises SealgateError.
        """
        with self._ledger.change(principal) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            # 1.
            counts = open_statement(envelope, EngineCounts, policy, (ENGINE,))
            # 2.
            stored = _newest(unit.connection, counts.instance)
            before = None if stored is None else _read(stored)
            told = (
                (0, "") if stored is None or before is None else (before.sequence, sha256(stored))
            )
            if told != unit.logged().engine_counts.get(counts.instance, (0, "")):
                raise SealgateError(Reason.LOG_INCONSISTENT, "the newest counts are not the log's")
            if before is not None and (
                before.engine != counts.engine or not counts.follows(before)
            ):
                raise SealgateError(
                    Reason.LOG_INCONSISTENT, f"the counts of {counts.engine} went back"
                )
            if counts.counts == (before.counts if before else ()):
                return False
            unit.add(
                ENGINE_COUNTED,
                instance=counts.instance,
                sequence=counts.sequence,
                engine=counts.engine,
                envelope=envelope.encode(),
            )
            unit.commit()
        return True

    def newest(self, instance: str) -> EngineCounts | None:
        """The newest statement of an engine's instance. Raises
        SealgateError(REGISTRY_UNAVAILABLE).
        """
        with self._ledger.view() as connection:
            stored = _newest(connection, instance)
        return None if stored is None else _read(stored)

    def all(self) -> list[Envelope]:
        """Every statement that was kept, in the order of the log; signatures are the caller's to
        check. Raises SealgateError(REGISTRY_UNAVAILABLE).
        """
        query = select(ENGINE_COUNTS.c.envelope).order_by(ENGINE_COUNTS.c.entry)
        with self._ledger.view() as connection:
            return [Envelope.decode(bytes(envelope)) for envelope in connection.scalars(query)]


def _newest(connection: Connection, instance: str) -> bytes | None:
    query = (
        select(ENGINE_COUNTS.c.envelope)
        .where(ENGINE_COUNTS.c.instance == instance)
        .order_by(ENGINE_COUNTS.c.sequence.desc())
        .limit(1)
    )
    found = connection.scalar(query)
    return None if found is None else bytes(found)


def _read(envelope: bytes) -> EngineCounts:
    return EngineCounts.decode(Envelope.decode(envelope).payload)


class Refusals:
    """The use cases around anonymous refusals."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def count(self, principal: str, origin: str, counts: Mapping[str, int]) -> int:
        """Log how often each reason was given since the last time; return the entry's index.

        `origin` is the answer log of the gateway that counted. Raises SealgateError: LOG_UNKNOWN,
        DOCUMENT_MALFORMED for a reason that there is not, or a count below 1.
        """
        for name, count in counts.items():
            if name not in Reason.__members__ or count < 1:
                raise SealgateError(Reason.DOCUMENT_MALFORMED, f"{name}: {count}")
        newest = select(func.max(REFUSALS.c.number)).where(REFUSALS.c.origin == origin)
        with self._ledger.change(principal) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            check_answer_log(policy, origin)
            number = (unit.connection.scalar(newest) or 0) + 1
            text = canonical.encode(dict(counts)).decode()
            entry = unit.add(REFUSALS_COUNTED, origin=origin, number=number, counts=text)
            unit.commit()
        return entry
