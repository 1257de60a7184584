"""Allowances of requests, each used once, by whichever gateway is first.

Which were used is for the log to say: a row that is deleted lets nothing pass again.
"""

from registry.events import REQUEST_ALLOWED
from registry.policies import PolicyBook
from registry.unit_of_work import Ledger
from sealgate.reasons import Reason, Refusal
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy.screening import STEP_UP
from sealgate.trust.statements.allowance import Allowance, HeldRequest, open_allowance


class Allowances:
    """The use cases around allowances."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def use(self, envelope: Envelope, held: HeldRequest) -> Allowance:
        """Log that `held` passes by what the envelope allows; nothing passes by it again.

        Raises Refusal: as `open_allowance` does under the policy in force; ALLOWANCE_SIGNER where
        the policy lets nobody allow anything; ALLOWANCE_USED; REGISTRY_UNAVAILABLE, RECORD_FAILED,
        LOG_INCONSISTENT.
        """
        with self._ledger.change(held.caller) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            step_up = policy.screen(held.model).step_up
            if step_up is None:
                raise Refusal(Reason.ALLOWANCE_SIGNER, f"no {STEP_UP} for {held.model}")
            allowance = open_allowance(envelope, held, step_up, policy, unit.now)
            digest = envelope.payload_digest
            if digest in unit.logged().allowances:
                raise Refusal(Reason.ALLOWANCE_USED, digest)
            unit.add(REQUEST_ALLOWED, digest=digest, model=held.model, envelope=envelope.encode())
            unit.commit()
        return allowance
