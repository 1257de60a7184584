"""Proposals as people look at them: what was said about each, and for whom it waits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from sealgate.remote.calls import list_all
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.policy.shares import approvals_for
from sealgate.trust.statements import (
    Approval,
    Comment,
    Evidence,
    Proposal,
    ProposalWithdrawal,
    Rejection,
)
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_STATE = "PROPOSAL_STATE_"


@dataclass(frozen=True, slots=True)
class ProposalReview:
    """A proposal and its evidence, all verified on the approver's machine.

    `attached` came after the version, and no proposal names it.
    """

    proposal: Proposal
    evidence: tuple[Evidence, ...]
    publisher: str
    attached: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class ProposalDiscussion:
    """A proposal and what people have signed about it, as the registry shows them, unverified.

    `state` is `open`, `rejected`, `withdrawn`, `moved` or `expired`.
    """

    digest: str
    proposal: Proposal
    state: str
    approvals: tuple[Approval, ...]
    rejections: tuple[Rejection, ...]
    withdrawal: ProposalWithdrawal | None
    comments: tuple[Comment, ...]

    @classmethod
    def of(cls, message: messages.Proposal) -> Self:
        """Read a message. Raises SealgateError(DOCUMENT_MALFORMED)."""
        withdrawal = message.withdrawal
        return cls(
            digest=message.digest,
            proposal=Proposal.decode(Envelope.decode(message.envelope).payload),
            state=state_of(message),
            approvals=tuple(map(Approval.decode, _payloads(message.approvals))),
            rejections=tuple(map(Rejection.decode, _payloads(message.rejections))),
            withdrawal=(
                ProposalWithdrawal.decode(Envelope.decode(withdrawal).payload)
                if withdrawal
                else None
            ),
            comments=tuple(map(Comment.decode, _payloads(message.comments))),
        )

    def is_approved(self, policy: Policy) -> bool:
        """Say whether as many people have approved as the policy asks for."""
        asked = self.proposal
        return len(self.approvals) >= approvals_for(policy, asked.model, asked.alias, asked.share)


def state_of(message: messages.Proposal) -> str:
    """`open`, `rejected`, `withdrawn`, `moved` or `expired`, as the registry says."""
    return messages.ProposalState.Name(message.state).removeprefix(_STATE).lower()


def waiting_for(
    name: str, registry: RegistryServiceStub, policy: Policy, model: str = ""
) -> Iterator[messages.Proposal]:
    """Yield the open proposals, of a model or of all, that wait for a person.

    An approver is waited for until enough people have approved, unless the person has approved
    already, or published or proposed the version; an admin is waited for afterwards. A proposal
    that names an earlier policy takes no approval any more.

    Raises SealgateError(PRINCIPAL_UNKNOWN).
    """
    roles = policy.principal(name).roles
    open_ones = f'state = open AND proposer != "{name}" AND publisher != "{name}"'
    asked = [
        (f"{open_ones} AND NOT approver:{name}", False) if "approver" in roles else None,
        ("state = open", True) if "admin" in roles else None,
    ]
    for filter_, approved in filter(None, asked):
        request = messages.ListProposalsRequest(model=model, filter=filter_)
        for message in list_all(registry.ListProposals, request, "proposals"):
            opened = ProposalDiscussion.of(message)
            in_force = opened.state == "open" and opened.proposal.policy == policy.digest
            if in_force and opened.is_approved(policy) is approved:
                yield message


def _payloads(envelopes: Iterable[bytes]) -> Iterator[bytes]:
    return (Envelope.decode(data).payload for data in envelopes)
