"""Proposals as pages show them: verified, with what people said, and for whom they wait."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from console.reading.gateway import PersonCalls
from sealgate.promotion.reviews import state_of, waiting_for
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import STAFF_ROLES, Policy, approvals_for
from sealgate.trust.statements import (
    Approval,
    Comment,
    Proposal,
    ProposalWithdrawal,
    Rejection,
    open_under,
)
from sealgate.trust.statements.base import Statement
from sealgate.v1 import registry_pb2 as messages

PROPOSERS = ("publisher", "admin")
_MOST_WAITING = 50
_S = TypeVar("_S", bound=Statement)


class Remark(NamedTuple):
    """A signed remark on a proposal: `what` is `approved`, `rejected` and so on."""

    what: str
    who: str
    words: str
    time: str


@dataclass(frozen=True, slots=True)
class ShownProposal:
    """A proposal and what was said about it, signed by whom it says under a policy of the chain.

    `needed` is how many people must approve; `state` is `open`, `rejected`, `withdrawn`, `moved`
    or `expired`.
    """

    digest: str
    proposal: Proposal
    approvals: tuple[Approval, ...]
    remarks: tuple[Remark, ...]
    needed: int
    state: str

    @property
    def missing(self) -> int:
        return max(0, self.needed - len(self.approvals))


def proposal_of(calls: PersonCalls, digest: str) -> ShownProposal:
    """The proposal of a digest, verified. Raises SealgateError like `read_proposal`."""
    request = messages.GetProposalRequest(digest=digest)
    shown = read_proposal(calls.ask(calls.registry.GetProposal, request).proposal, calls.policies)
    if shown.digest != digest:
        raise SealgateError(Reason.DIGEST_MISMATCH, "the registry sent another proposal")
    return shown


def read_proposal(message: messages.Proposal, policies: Sequence[Policy]) -> ShownProposal:
    """Verify a proposal and all that was said about it.

    Raises SealgateError as `open_under` does, and DIGEST_MISMATCH for another proposal than the one
    that is named, or words about another.
    """
    envelope = Envelope.decode(message.envelope)
    if envelope.payload_digest != message.digest:
        raise SealgateError(Reason.DIGEST_MISMATCH, "the registry sent another proposal")
    proposal = open_under(envelope, Proposal, policies, PROPOSERS)
    approvals = tuple(_opened(message.approvals, Approval, policies, ("approver",)))
    if len({approval.approver for approval in approvals}) < len(approvals):
        raise SealgateError(Reason.DIGEST_MISMATCH, "the registry sent a person's approval twice")
    rejections = list(_opened(message.rejections, Rejection, policies, ("approver",)))
    withdrawn = [message.withdrawal] if message.withdrawal else []
    withdrawals = list(_opened(withdrawn, ProposalWithdrawal, policies, PROPOSERS))
    comments = list(_opened(message.comments, Comment, policies, STAFF_ROLES))
    about = {
        *(item.proposal for item in approvals),
        *(item.proposal for item in rejections),
        *(item.proposal for item in withdrawals),
        *(item.proposal for item in comments),
    }
    if about - {message.digest}:
        raise SealgateError(Reason.DIGEST_MISMATCH, "words about another proposal")
    remarks = [
        *(Remark("approved", a.approver, a.meaning, a.time) for a in approvals),
        *(Remark("rejected", r.approver, r.reason, r.time) for r in rejections),
        *(Remark("withdrew", w.proposer, w.reason, w.time) for w in withdrawals),
        *(Remark("commented", c.person, c.text, c.time) for c in comments),
    ]
    return ShownProposal(
        digest=message.digest,
        proposal=proposal,
        approvals=approvals,
        remarks=tuple(sorted(remarks, key=lambda remark: remark.time)),
        needed=_needed(proposal, policies[-1]),
        state=state_of(message),
    )


def _opened(
    envelopes: Iterable[bytes], kind: type[_S], policies: Sequence[Policy], roles: Iterable[str]
) -> Iterator[_S]:
    for data in envelopes:
        yield open_under(Envelope.decode(data), kind, policies, tuple(roles))


def _needed(proposal: Proposal, policy: Policy) -> int:
    try:
        return approvals_for(policy, proposal.model, proposal.alias, proposal.share)
    except SealgateError:
        # The policy has no rule for the alias any more, and nobody can promote to it.
        return 0


def waiting(calls: PersonCalls, model: str = "") -> list[ShownProposal]:
    """The first proposals, of a model or of all, that wait for the reader."""
    found = waiting_for(calls.person.name, calls.registry, calls.policy, model)
    shown = []
    for message in found:
        shown.append(read_proposal(message, calls.policies))
        if len(shown) == _MOST_WAITING:
            break
    return shown
