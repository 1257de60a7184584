"""Proposals and models as people review them.

Of a proposal: what was said about it, and for whom it waits. Of all models, the inventory: how
risky, whose, what is live, and until when the approvals of that count. Every pointer is verified
here, from the policy on; who created a model is the registry's word.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import grpc

from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import list_all
from sealgate.remote.errors import refusal_of
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, approvals_for
from sealgate.trust.statements import (
    Approval,
    Comment,
    Evidence,
    PointerBundle,
    Proposal,
    ProposalWithdrawal,
    Rejection,
    review_end,
    verify_pointer,
)
from sealgate.trust.times import REVIEW_BEFORE
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_STATE = "PROPOSAL_STATE_"
NONE_LIVE, NO_END, CURRENT, DUE, OVERDUE = "nothing live", "no end", "current", "due", "overdue"


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


@dataclass(frozen=True, slots=True)
class InventoryItem:
    """An alias of a model that points at a version, or a model of which none does (`alias` and what
    follows are empty).

    `tier` is the policy's risk tier, `owner` its owner or else who created the model. `review_end`
    is until when the approvals count, None without end; `review` says what that means now.
    """

    model: str
    tier: str
    owner: str
    alias: str = ""
    version: int = 0
    since: str = ""
    review_end: datetime | None = None
    review: str = NONE_LIVE


def inventory(
    registry: RegistryServiceStub, policies: Sequence[Policy], now: datetime
) -> Iterator[InventoryItem]:
    """Every model and alias, by name. `policies` is the chain, oldest first.

    Raises SealgateError as `verify_pointer` does, and grpc.RpcError.
    """
    policy = policies[-1]
    for model in list_all(registry.ListModels, messages.ListModelsRequest(), "models"):
        name = model.name.partition("/")[2]
        tier = policy.risk.tier(name) if policy.risk else ""
        about = name, tier, policy.owner(name) or model.creator
        live = [
            _item(about, alias, pointer, registry, policies, now)
            for alias in sorted(policy.rules.approvals)
            if (pointer := _pointer(registry, name, alias)) is not None
        ]
        yield from live or [InventoryItem(*about)]


def review_state(end: datetime | None, now: datetime) -> str:
    """The state of approvals that count until `end`."""
    if end is None:
        return NO_END
    if now > end:
        return OVERDUE
    return DUE if end - now < REVIEW_BEFORE else CURRENT


def _item(
    about: tuple[str, str, str],
    alias: str,
    pointer: messages.Pointer,
    registry: RegistryServiceStub,
    policies: Sequence[Policy],
    now: datetime,
) -> InventoryItem:
    name = f"models/{about[0]}/versions/{pointer.version}"
    publisher = registry.GetVersion(messages.GetVersionRequest(name=name)).version.publisher
    chain = {policy.digest: policy for policy in policies}
    bundle = PointerBundle.decode(pointer.bundle)
    verified = verify_pointer(bundle, chain, policies[-1], publisher, now)
    if (verified.model, verified.alias) != (about[0], alias):
        raise SealgateError(Reason.POINTER_INVALID, f"another alias's pointer for {alias}")
    end = review_end(bundle, policies[-1])
    return InventoryItem(
        *about,
        alias=alias,
        version=verified.version,
        since=verified.time,
        review_end=end,
        review=review_state(end, now),
    )


def _pointer(registry: RegistryServiceStub, model: str, alias: str) -> messages.Pointer | None:
    request = messages.GetPointerRequest(name=f"models/{model}/aliases/{alias}")
    try:
        return registry.GetPointer(request).pointer
    except grpc.RpcError as error:
        if refusal_of(error).reason is Reason.ALIAS_UNKNOWN:
            return None
        raise
