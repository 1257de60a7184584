"""Counts of refusals before a caller was known: kept by period, since nobody may fill the disk."""

from collections.abc import Mapping

from sqlalchemy import func, select

from registry.events import REFUSALS_COUNTED
from registry.policies import PolicyBook
from registry.schema import REFUSALS
from registry.unit_of_work import Ledger
from sealgate.reasons import Reason, Refusal
from sealgate.trust import canonical


class Refusals:
    """The use cases around anonymous refusals."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def count(self, principal: str, origin: str, counts: Mapping[str, int]) -> int:
        """Log how often each reason was given since the last time; return the entry's index.

        `origin` is the answer log of the gateway that counted. Raises Refusal: LOG_UNKNOWN,
        DOCUMENT_MALFORMED for a reason that there is not, or a count below 1.
        """
        for name, count in counts.items():
            if name not in Reason.__members__ or count < 1:
                raise Refusal(Reason.DOCUMENT_MALFORMED, f"{name}: {count}")
        newest = select(func.max(REFUSALS.c.number)).where(REFUSALS.c.origin == origin)
        with self._ledger.change(principal) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            if not policy.is_answer_log(origin):
                raise Refusal(Reason.LOG_UNKNOWN, "not an answer log of the policy")
            number = (unit.connection.scalar(newest) or 0) + 1
            text = canonical.encode(dict(counts)).decode()
            entry = unit.add(REFUSALS_COUNTED, origin=origin, number=number, counts=text)
            unit.commit()
        return entry
