"""What engines say that they ran, kept in the registry's log beside the anchors.

An anchor fixes what an answer log holds, these fix what an engine ran: an auditor compares the two.
"""

from sqlalchemy import Connection, select

from registry.events import ENGINE_COUNTED
from registry.policies import PolicyBook
from registry.schema import ENGINE_COUNTS
from registry.unit_of_work import Ledger
from sealgate.reasons import Reason, Refusal
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import open_statement
from sealgate.trust.statements.engine_counts import ENGINE, EngineCounts


class EngineCountsBook:
    """The use cases around engines' counts."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def add(self, principal: str, envelope: Envelope) -> bool:
        """Log a statement that says more than the one before it; say whether it did.

        1. An engine of the policy has signed it (reasons of `open_statement`).
        2. Nothing in it shrank since its instance's newest, which is the log's (LOG_INCONSISTENT).

        Raises Refusal.
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
                raise Refusal(Reason.LOG_INCONSISTENT, "the newest counts are not the log's")
            if before is not None and (
                before.engine != counts.engine or not counts.follows(before)
            ):
                raise Refusal(Reason.LOG_INCONSISTENT, f"the counts of {counts.engine} went back")
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
        """The newest statement of an engine's instance. Raises Refusal(REGISTRY_UNAVAILABLE)."""
        with self._ledger.view() as connection:
            stored = _newest(connection, instance)
        return None if stored is None else _read(stored)

    def all(self) -> list[Envelope]:
        """Every statement that was kept, in the order of the log; signatures are the caller's to
        check. Raises Refusal(REGISTRY_UNAVAILABLE).
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
