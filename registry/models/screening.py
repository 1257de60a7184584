"""Allowances that were used, and versions whose screening guarantee drift has ended.

An allowance is used once, by whichever gateway is first. The bound on false alarms of a version
holds only for traffic like its calibration rows. After drift, the log records permanently that the
bound is withdrawn; a newly calibrated version has a new bound.
"""

from collections.abc import Mapping

from sqlalchemy import select

from registry.policy.policies import PolicyBook
from registry.state.events import REQUEST_ALLOWED, SCREENING_DRIFTED
from registry.state.schema import VERSIONS
from registry.state.unit_of_work import Ledger
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy.screening import STEP_UP
from sealgate.trust.statements.allowance import Allowance, HeldRequest, open_allowance


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
            if not policy.is_answer_log(origin):
                raise SealgateError(Reason.LOG_UNKNOWN, "not an answer log of the policy")
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
                raise SealgateError(Reason.ALLOWANCE_SIGNER, f"no {STEP_UP} for {held.model}")
            allowance = open_allowance(envelope, held, step_up, policy, unit.now)
            digest = envelope.payload_digest
            if digest in unit.logged().allowances:
                raise SealgateError(Reason.ALLOWANCE_USED, digest)
            unit.add(REQUEST_ALLOWED, digest=digest, model=held.model, envelope=envelope.encode())
            unit.commit()
        return allowance
