"""Erasures of subjects, told in the registry's log without their names.

Each entry says how many entries of the answer log the erasure closes, so that an auditor can tell
them from openings that somebody deleted. Entries of releases before that say nothing of it.
"""

from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select

from registry.events import SUBJECT_ERASED
from registry.policies import PolicyBook
from registry.prunings import closed_of
from registry.requests import Once, Repeated
from registry.schema import ERASURES
from registry.unit_of_work import Ledger
from sealgate.reasons import Reason, Refusal
from sealgate.trust.pseudonym import is_pseudonym


@dataclass(frozen=True, slots=True)
class Closing:
    """What an erasure is about to close: `entries` of an answer log that has `size` entries, and
    the key of this digest (`registry.subjects.key_digest`), if the subject has one.
    """

    entries: int
    size: int
    key_digest: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """An erasure as the log tells of it. `repeated`: an earlier attempt of the same request did."""

    pseudonym: str
    size: int
    key_digest: str | None
    repeated: bool = field(compare=False)


@dataclass(frozen=True, slots=True)
class Erased:
    """What all erasures from one answer log have closed: `entries` that are not pruned, below
    entry `size`. `uncounted` erasures did not count theirs.
    """

    entries: int
    size: int
    uncounted: int


class Erasures:
    """The use cases around erasures."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def add(
        self,
        principal: str,
        origin: str,
        pseudonym: str,
        closing: Closing,
        once: Once | None = None,
    ) -> Told:
        """Log that a subject is about to be erased from the answer log `origin`; return what the
        log tells, which may be of an earlier attempt.

        `pseudonym` is as `sealgate.trust.pseudonym` makes it. Raises Refusal: LOG_UNKNOWN,
        REQUEST_ID_REUSED, RECORD_FAILED, REGISTRY_UNAVAILABLE.
        """
        try:
            with self._ledger.change(principal, once) as unit:
                policy = self._book.read_for(unit).current(unit.now)
                if not policy.is_answer_log(origin):
                    raise Refusal(Reason.LOG_UNKNOWN, "not an answer log of the policy")
                unit.add(
                    SUBJECT_ERASED,
                    origin=origin,
                    pseudonym=pseudonym,
                    entries=closing.entries,
                    size=closing.size,
                    key_digest=closing.key_digest,
                )
                unit.commit()
        except Repeated as repeated:
            told = select(ERASURES).where(ERASURES.c.entry == repeated.entry)
            with self._ledger.view() as connection:
                row = connection.execute(told).one()
            return Told(row.pseudonym, row.size or 0, row.key_digest, repeated=True)
        return Told(pseudonym, closing.size, closing.key_digest, repeated=False)

    def all(self) -> list[tuple[str, str]]:
        """Origin and pseudonym of each erasure, oldest first. Raises REGISTRY_UNAVAILABLE."""
        query = select(ERASURES.c.origin, ERASURES.c.pseudonym).order_by(ERASURES.c.entry)
        with self._ledger.view() as connection:
            return [(row.origin, row.pseudonym) for row in connection.execute(query)]

    def erased(self, origin: str) -> Erased:
        """What all erasures from an answer log have closed. Raises REGISTRY_UNAVAILABLE."""
        with self._ledger.view() as connection:
            return erased_of(connection, origin)

    def told_until(self, origin: str, name: str) -> int:
        """Below which entry of an answer log the erasures of a subject have counted already.

        Slow: each pseudonym takes tens of milliseconds. Raises REGISTRY_UNAVAILABLE.
        """
        query = select(ERASURES.c.pseudonym, ERASURES.c.size).where(ERASURES.c.origin == origin)
        with self._ledger.view() as connection:
            rows = connection.execute(query.order_by(ERASURES.c.size.desc())).all()
        counted = (row.size for row in rows if row.size and is_pseudonym(row.pseudonym, name))
        return next(counted, 0)

    def destroyed_keys(self) -> set[str]:
        """The digests of all keys that erasures destroyed. Raises REGISTRY_UNAVAILABLE."""
        query = select(ERASURES.c.key_digest).where(ERASURES.c.key_digest.is_not(None))
        with self._ledger.view() as connection:
            return set(connection.scalars(query))


def erased_of(connection: Connection, origin: str) -> Erased:
    """See `Erasures.erased`."""
    table = ERASURES.c
    told = select(
        func.coalesce(func.sum(table.entries), 0).label("entries"),
        func.coalesce(func.max(table.size), 0).label("size"),
        (func.count() - func.count(table.entries)).label("uncounted"),
    )
    row = connection.execute(told.where(table.origin == origin)).one()
    entries = int(row.entries) - closed_of(connection, origin)
    return Erased(entries, int(row.size), int(row.uncounted))
