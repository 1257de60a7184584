"""Proposals as pages show them: verified, with who approved, and whether they are still open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from console.gateway import PersonCalls
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, Principal
from sealgate.trust.statements import Approval, Proposal, open_under
from sealgate.trust.times import format_time, parse_time
from sealgate.v1 import registry_pb2 as messages

_LONGEST_LIFE = timedelta(days=31)
_MOST = 200
OPEN, EXPIRED, PASSED, PROMOTED = "open", "expired", "passed over", "promoted"


@dataclass(frozen=True, slots=True)
class ShownProposal:
    """A proposal and its approvals, each signed by who it says under a policy of the chain.

    `needed` is how many people must approve; `state` is one of OPEN, EXPIRED, PASSED (the alias
    has moved since) and PROMOTED.
    """

    digest: str
    proposal: Proposal
    approvals: tuple[Approval, ...]
    needed: int
    state: str

    @property
    def missing(self) -> int:
        return max(0, self.needed - len(self.approvals))

    def waits_for(self, person: Principal) -> bool:
        """Whether this person can do the next step: approve it, or promote it."""
        if self.state != OPEN:
            return False
        if self.missing:
            approved = {approval.approver for approval in self.approvals}
            return "approver" in person.roles and person.name not in approved
        return "admin" in person.roles


def read_proposal(
    message: messages.Proposal,
    policies: Sequence[Policy],
    now: datetime,
    pointer: messages.Pointer | None,
) -> ShownProposal:
    """`pointer` is the newest of its alias, if any. Raises SealgateError as `open_under` does, and
    DIGEST_MISMATCH for another proposal than the one that is named.
    """
    envelope = Envelope.decode(message.envelope)
    if envelope.payload_digest != message.digest:
        raise SealgateError(Reason.DIGEST_MISMATCH, "the registry sent another proposal")
    proposal = open_under(envelope, Proposal, policies, ("publisher", "admin"))
    approvals = tuple(
        open_under(Envelope.decode(item), Approval, policies, ("approver",))
        for item in message.approvals
    )
    if any(approval.proposal != message.digest for approval in approvals):
        raise SealgateError(Reason.DIGEST_MISMATCH, "an approval of another proposal")
    try:
        needed = policies[-1].approvals_for(proposal.alias, proposal.model)
    except SealgateError:
        needed = 0
    return ShownProposal(
        message.digest, proposal, approvals, needed, _state(proposal, now, pointer)
    )


def _state(proposal: Proposal, now: datetime, pointer: messages.Pointer | None) -> str:
    sequence = pointer.sequence if pointer is not None else 0
    if sequence > proposal.predecessor:
        live = pointer is not None and (pointer.sequence, pointer.digest, pointer.action) == (
            proposal.predecessor + 1,
            proposal.digest,
            "promote",
        )
        return PROMOTED if live else PASSED
    return EXPIRED if parse_time(proposal.not_after) <= now else OPEN


def recent(calls: PersonCalls, now: datetime, models: Sequence[str]) -> list[ShownProposal]:
    """The proposals of these models that may still be open by their age; newest first."""
    since = f'create_time >= "{format_time(now - _LONGEST_LIFE)}"'
    requests = [
        messages.ListProposalsRequest(model=model, page_size=_MOST, filter=since)
        for model in models
    ]
    answers = calls.ask_all(calls.registry.ListProposals, requests)
    found = [message for answer in answers for message in answer.proposals]
    pointers = newest_pointers(calls, {_place(message) for message in found})
    shown = [read_proposal(m, calls.policies, now, pointers[_place(m)]) for m in found]
    return sorted(shown, key=lambda each: each.proposal.created, reverse=True)


def _place(message: messages.Proposal) -> tuple[str, str]:
    proposal = Proposal.decode(Envelope.decode(message.envelope).payload)
    return proposal.model, proposal.alias


def newest_pointers(
    calls: PersonCalls, places: set[tuple[str, str]]
) -> Mapping[tuple[str, str], messages.Pointer | None]:
    """The newest pointer of each alias of a model; None where it has never pointed."""
    order = sorted(places)
    requests = [
        messages.GetPointerRequest(name=f"models/{model}/aliases/{alias}") for model, alias in order
    ]
    answers = calls.ask_all(calls.registry.GetPointer, requests, Reason.ALIAS_UNKNOWN)
    return {
        place: answer.pointer if answer is not None else None
        for place, answer in zip(order, answers, strict=True)
    }
