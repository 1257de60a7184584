"""Erasures of subjects, told in the registry's log without their names.

Each entry says how many entries of the answer log the erasure closes, so that an auditor can tell
them from openings that somebody deleted. Entries of releases before that say nothing of it.
"""

from dataclasses import dataclass, field

from sqlalchemy import select

from registry.events import SUBJECT_ERASED
from registry.log.rows import inconsistent
from registry.logged_state import LoggedPruning
from registry.policies import PolicyBook
from registry.requests import Once, Repeated
from registry.schema import ERASURES
from registry.unit_of_work import Ledger
from sealgate.reasons import Reason, Refusal
from sealgate.trust.receipts.answer_entry import is_pseudonym


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

        `pseudonym` is as `sealgate.trust.receipts.answer_entry` makes it. Raises Refusal:
        LOG_UNKNOWN, REQUEST_ID_REUSED, RECORD_FAILED, REGISTRY_UNAVAILABLE.
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
            return self._repeated(repeated.entry)
        return Told(pseudonym, closing.size, closing.key_digest, repeated=False)

    def _repeated(self, entry: int) -> Told:
        """What the log tells in entry `entry`, the row of which may have been edited."""
        with self._ledger.view() as connection:
            query = select(ERASURES.c.pseudonym).where(ERASURES.c.entry == entry)
            pseudonym = connection.scalar(query)
        told = self._ledger.logged().erasures.get(pseudonym or "")
        if told is None or pseudonym is None:
            raise inconsistent(f"entry {entry} tells of no erasure")
        return Told(pseudonym, told.size or 0, told.key_digest, repeated=True)

    def all(self) -> list[tuple[str, str]]:
        """Origin and pseudonym of each erasure, oldest first. Raises REGISTRY_UNAVAILABLE."""
        query = select(ERASURES.c.origin, ERASURES.c.pseudonym).order_by(ERASURES.c.entry)
        with self._ledger.view() as connection:
            return [(row.origin, row.pseudonym) for row in connection.execute(query)]

    def erased(self, origin: str) -> Erased:
        """What all erasures from an answer log have closed, as the log tells it.

        Raises Refusal: REGISTRY_UNAVAILABLE, LOG_INCONSISTENT.
        """
        facts = self._ledger.logged()
        told = [erasure for erasure in facts.erasures.values() if erasure.origin == origin]
        pruned = facts.prunings.get(origin, LoggedPruning())
        return Erased(
            entries=sum(erasure.entries or 0 for erasure in told) - pruned.closed,
            size=max((erasure.size or 0 for erasure in told), default=0),
            uncounted=sum(erasure.entries is None for erasure in told),
        )

    def told_until(self, origin: str, name: str) -> int:
        """Below which entry of an answer log the erasures of a subject have counted already.

        Slow: each pseudonym takes tens of milliseconds. Raises as `erased`.
        """
        told = [
            (erasure.size, pseudonym)
            for pseudonym, erasure in self._ledger.logged().erasures.items()
            if erasure.origin == origin and erasure.size
        ]
        found = (size for size, text in sorted(told, reverse=True) if is_pseudonym(text, name))
        return next(found, 0)

    def destroyed_keys(self) -> set[str]:
        """The digests of all keys that erasures destroyed. Raises as `erased`."""
        told = self._ledger.logged().erasures.values()
        return {erasure.key_digest for erasure in told if erasure.key_digest is not None}
