"""Evidence that comes after its version: what others found who tried it, a red team's report.

It is no part of what a proposal names, for it may come at any time; whoever approves is shown what
there is by then. Nobody can take another's place: each maker has some of their own.
"""

from contextlib import suppress

from sqlalchemy import Connection, RowMapping, select

from registry.events import EVIDENCE_ATTACHED
from registry.policies import PolicyBook
from registry.records import VersionRecord
from registry.requests import Once, Repeated
from registry.schema import ATTACHMENTS
from registry.statements import open_own
from registry.unit_of_work import Ledger
from registry.version_rows import check_version, find_version, read_version
from sealgate.reasons import Reason, Refusal
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy.promotion_rules import ATTACHED, ATTACHERS
from sealgate.trust.statements import Evidence

LARGEST_ITEM = 128 << 10
MOST_OF_ONE = 8


class Attachments:
    """The use case of attaching evidence to a version."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def attach(
        self, principal: str, model: str, version: int, envelope: bytes, once: Once | None = None
    ) -> VersionRecord:
        """Take in an item of evidence about a version; one that is there already changes nothing.

        1. It has at most 128 KiB (FILE_TOO_LARGE).
        2. The caller, a publisher, an approver or an admin, has signed it (reasons of `open_own`).
        3. It is of a kind that may come later, and about this version (EVIDENCE_MISMATCH), which
           exists (VERSION_UNKNOWN) and is not revoked (VERSION_REVOKED).
        4. The caller has attached fewer than 8 to it (EVIDENCE_TOO_MUCH).
        """
        # 1.
        if len(envelope) > LARGEST_ITEM:
            raise Refusal(Reason.FILE_TOO_LARGE, "too large for evidence that comes later")
        opened = Envelope.decode(envelope)
        with suppress(Repeated), self._ledger.change(principal, once) as unit:
            connection = unit.connection
            policy = self._book.read_for(unit).current(unit.now)
            # 2.
            item = open_own(principal, opened, Evidence, policy, ATTACHERS)
            # 3.
            digest = find_version(connection, model, version)["digest"]
            if item.kind not in ATTACHED or item.version_digest != digest:
                raise Refusal(Reason.EVIDENCE_MISMATCH, f"{item.kind} of {item.version_digest}")
            check_version(connection, model, version, digest)
            there = _attached(connection, model, version)
            if opened.payload_digest not in {row["digest"] for row in there}:
                # 4.
                if sum(row["principal"] == principal for row in there) >= MOST_OF_ONE:
                    raise Refusal(Reason.EVIDENCE_TOO_MUCH, principal)
                unit.add(
                    EVIDENCE_ATTACHED,
                    model=model,
                    version=version,
                    digest=opened.payload_digest,
                    kind=item.kind,
                    envelope=envelope,
                )
                unit.commit()
        with self._ledger.view() as connection:
            return read_version(connection, model, version)


def _attached(connection: Connection, model: str, version: int) -> list[RowMapping]:
    """By whom what is there was made: rows without the envelopes."""
    here = (ATTACHMENTS.c.model == model, ATTACHMENTS.c.version == version)
    query = select(ATTACHMENTS.c.digest, ATTACHMENTS.c.principal).where(*here)
    return list(connection.execute(query).mappings())
