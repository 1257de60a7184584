"""Evidence of a version by its makers, used allowances, and ended guarantees.

Each item is about the version's exact bytes. Later evidence is, for instance, a red team's report.

An allowance is used once, by whichever gateway is first. The bound on false alarms of a version
holds only for traffic like its calibration rows. After drift, the log records permanently that the
bound is withdrawn; a newly calibrated version has a new bound.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, func, select

from registry.models.models import check_version, find_version, read_version
from registry.policy import PolicyBook, check_answer_log, open_own
from registry.state.events import EVIDENCE_ATTACHED, REQUEST_ALLOWED, SCREENING_DRIFTED
from registry.state.records import VersionRecord
from registry.state.schema import ATTACHMENTS, VERSIONS
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Consequence, EvidenceRules, Policy
from sealgate.trust.statements import Evidence, open_statement
from sealgate.trust.statements.allowance import Allowance, HeldRequest, open_allowance

MOST_ITEMS = 32
LARGEST_EVIDENCE = 2 << 20
"""Bytes of all items of a version. With them and what is attached it must fit into a message (4
MiB): nobody could approve it otherwise, nor tell what a decision rests on.
"""


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """An item that was checked: its kind, the digest of its payload, who made it, its envelope."""

    kind: str
    digest: str
    maker: str
    envelope: bytes


def open_evidence(
    envelopes: Sequence[bytes], version_digest: str, policy: Policy
) -> tuple[EvidenceItem, ...]:
    """Return the items of evidence for a version, in the order given.

    1. There are at most 32, together of at most 2 MiB (FILE_TOO_LARGE).
    2. Each is an evidence statement that its maker has signed, a publisher or a service of the
       role `evidence` (reasons of `open_statement`).
    3. Each is about this version, and no kind comes twice (EVIDENCE_MISMATCH).
    """
    # 1.
    if len(envelopes) > MOST_ITEMS or sum(map(len, envelopes)) > LARGEST_EVIDENCE:
        raise SealgateError(Reason.FILE_TOO_LARGE, "too much evidence")
    items = []
    for data in envelopes:
        envelope = Envelope.decode(data)
        # 2.
        statement = open_statement(envelope, Evidence, policy, EvidenceRules.MAKERS)
        # 3.
        if statement.version_digest != version_digest:
            raise SealgateError(Reason.EVIDENCE_MISMATCH, f"{statement.kind} is about other bytes")
        items.append(EvidenceItem(statement.kind, envelope.payload_digest, statement.maker, data))
    if len({item.kind for item in items}) != len(items):
        raise SealgateError(Reason.EVIDENCE_MISMATCH, "a kind of evidence occurs twice")
    return tuple(items)


LARGEST_ATTACHMENT = 128 << 10
MOST_OF_ONE = 8
LARGEST_OF_ONE = 256 << 10
LARGEST_ATTACHED = 1536 << 10
"""Bytes of what one person, and all together, may attach to a version."""


class Attachments:
    """The use case of attaching evidence to a version."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def attach(
        self,
        principal: str,
        model: str,
        version: int,
        envelope: bytes,
        once: RequestKey | None = None,
    ) -> VersionRecord:
        """Take in an item of evidence about a version; one that is there already changes nothing.

        1. It has at most 128 KiB (FILE_TOO_LARGE).
        2. The caller, a publisher, an approver or an admin, has signed it (reasons of `open_own`).
        3. It is of a kind that may come later, and about this version (EVIDENCE_MISMATCH), which
           exists (VERSION_UNKNOWN) and is not revoked (VERSION_REVOKED).
        4. The caller has attached fewer than 8 to it, and with it at most 256 KiB, all at most 1.5
           MiB (EVIDENCE_TOO_MUCH).
        """
        # 1.
        if len(envelope) > LARGEST_ATTACHMENT:
            raise SealgateError(
                Reason.FILE_TOO_LARGE, "too large for evidence attached after registration"
            )
        opened = Envelope.decode(envelope)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            connection = unit.connection
            policy = self._book.read_for(unit).current(unit.now)
            # 2.
            item = open_own(unit, opened, Evidence, policy, EvidenceRules.ATTACHERS)
            # 3.
            digest = find_version(connection, model, version)["digest"]
            if item.kind not in EvidenceRules.ATTACHED or item.version_digest != digest:
                about = f"{item.kind} of {item.version_digest}"
                raise SealgateError(Reason.EVIDENCE_MISMATCH, about)
            check_version(connection, model, version, digest)
            there = _attached(connection, model, version)
            if opened.payload_digest not in {row["digest"] for row in there}:
                # 4.
                _check_room(there, principal, len(envelope))
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
    """Return makers and sizes of attached evidence, from rows without the envelopes."""
    here = (ATTACHMENTS.c.model == model, ATTACHMENTS.c.version == version)
    size = func.length(ATTACHMENTS.c.envelope).label("size")
    query = select(ATTACHMENTS.c.digest, ATTACHMENTS.c.principal, size).where(*here)
    return list(connection.execute(query).mappings())


def _check_room(there: Sequence[RowMapping], principal: str, size: int) -> None:
    own = [row["size"] for row in there if row["principal"] == principal]
    total = sum(row["size"] for row in there)
    if (
        len(own) >= MOST_OF_ONE
        or sum(own) + size > LARGEST_OF_ONE
        or total + size > LARGEST_ATTACHED
    ):
        raise SealgateError(Reason.EVIDENCE_TOO_MUCH, principal)


class Drifts:
    """The use cases around withdrawn bounds."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def withdraw(
        self, principal: str, origin: str, model: str, version: int, finding: Mapping[str, object]
    ) -> bool:
        """Log that a version's bound no longer holds; say whether it held until now.

        `origin` is the answer log of the gateway that found it. Raises SealgateError: LOG_UNKNOWN,
        VERSION_UNKNOWN, REGISTRY_UNAVAILABLE, RECORD_FAILED.
        """
        of_version = (VERSIONS.c.model == model) & (VERSIONS.c.version == version)
        with self._ledger.change(principal) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            check_answer_log(policy, origin)
            digest = unit.connection.scalar(select(VERSIONS.c.digest).where(of_version))
            if digest is None:
                raise SealgateError(Reason.VERSION_UNKNOWN)
            if digest in unit.logged().withdrawn:
                return False
            unit.add(
                SCREENING_DRIFTED,
                model=model,
                version=version,
                version_digest=digest,
                origin=origin,
                finding=canonical.encode(dict(finding)).decode(),
            )
            unit.commit()
        return True

    def withdrawn(self) -> dict[str, str]:
        """The digests of versions whose bound is withdrawn, with the time of each.

        Raises SealgateError: REGISTRY_UNAVAILABLE, LOG_INCONSISTENT.
        """
        return dict(self._ledger.logged().withdrawn)


class Allowances:
    """The use cases around allowances."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def use(self, envelope: Envelope, held: HeldRequest) -> Allowance:
        """Log that `held` passes by what the envelope allows; nothing passes by it again.

        Raises SealgateError: as `open_allowance` does under the policy in force; ALLOWANCE_SIGNER
        where the policy lets nobody allow anything; ALLOWANCE_USED; REGISTRY_UNAVAILABLE,
        RECORD_FAILED, LOG_INCONSISTENT.
        """
        with self._ledger.change(held.caller) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            step_up = policy.screen(held.model).step_up
            if step_up is None:
                raise SealgateError(
                    Reason.ALLOWANCE_SIGNER, f"no {Consequence.STEP_UP} for {held.model}"
                )
            allowance = open_allowance(envelope, held, step_up, policy, unit.now)
            digest = envelope.payload_digest
            if digest in unit.logged().allowances:
                raise SealgateError(Reason.ALLOWANCE_USED, digest)
            unit.add(REQUEST_ALLOWED, digest=digest, model=held.model, envelope=envelope.encode())
            unit.commit()
        return allowance
