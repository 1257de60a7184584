"""Erasures of subjects, told in the registry's log without their names."""

from sqlalchemy import select

from registry.events import SUBJECT_ERASED
from registry.policies import PolicyBook
from registry.requests import Once, Repeated
from registry.schema import ERASURES
from registry.unit_of_work import Ledger
from sealgate.reasons import Reason, Refusal


class Erasures:
    """The use cases around erasures."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def add(self, principal: str, origin: str, pseudonym: str, once: Once | None = None) -> str:
        """Log that a subject is about to be erased from the answer log `origin`; return under which
        pseudonym the log tells of it, which may be that of an earlier attempt.

        `pseudonym` is as `sealgate.trust.pseudonym` makes it. Raises Refusal: LOG_UNKNOWN,
        REQUEST_ID_REUSED, RECORD_FAILED, REGISTRY_UNAVAILABLE.
        """
        try:
            with self._ledger.change(principal, once) as unit:
                policy = self._book.read(unit.connection).current(unit.now)
                if not policy.is_answer_log(origin):
                    raise Refusal(Reason.LOG_UNKNOWN, "not an answer log of the policy")
                unit.add(SUBJECT_ERASED, origin=origin, pseudonym=pseudonym)
                unit.commit()
        except Repeated as repeated:
            told = select(ERASURES.c.pseudonym).where(ERASURES.c.entry == repeated.entry)
            with self._ledger.view() as connection:
                return str(connection.execute(told).scalar_one())
        return pseudonym

    def all(self) -> list[tuple[str, str]]:
        """Origin and pseudonym of each erasure, oldest first. Raises REGISTRY_UNAVAILABLE."""
        query = select(ERASURES.c.origin, ERASURES.c.pseudonym).order_by(ERASURES.c.entry)
        with self._ledger.view() as connection:
            return [(row.origin, row.pseudonym) for row in connection.execute(query)]
