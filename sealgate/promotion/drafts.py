"""Drafts of what people sign, with a key or a passkey: a promotion's statements, the next policy.

Nothing here is signed or sent. Each draft of a statement says what the registry must still hold
when it is sent. The draft of a policy is the one in force, with changes for the roots to sign;
`Policy.decode` of its canonical JSON says whether it contradicts itself.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import send
from sealgate.trust import canonical, fields
from sealgate.trust.dsse import Envelope
from sealgate.trust.fields import check_name
from sealgate.trust.keys import PublicKey
from sealgate.trust.keys.webauthn import Passkey
from sealgate.trust.policy import Policy
from sealgate.trust.statements import (
    Approval,
    Comment,
    Pointer,
    PointerBundle,
    Proposal,
    ProposalWithdrawal,
    Rejection,
    Revocation,
)
from sealgate.trust.statements.base import Statement
from sealgate.trust.times import format_time
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StatementDraft:
    """A statement to sign; `etag` is that of the alias or version as its author saw it, if any."""

    statement: Statement
    etag: str = ""


class StatementDrafter:
    """Drafts one person's statements. Times are taken from `clock`, aware UTC."""

    def __init__(
        self,
        registry: RegistryServiceStub,
        person: str,
        policy: Callable[[], Policy],
        clock: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._person = person
        self._policy = policy
        self._clock = clock

    def approve(self, proposal: str, meaning: str) -> StatementDraft:
        return StatementDraft(Approval(proposal, self._person, meaning, self._now()))

    def reject(self, proposal: str, reason: str) -> StatementDraft:
        return StatementDraft(Rejection(proposal, self._person, reason, self._now()))

    def withdraw(self, proposal: str, reason: str) -> StatementDraft:
        return StatementDraft(ProposalWithdrawal(proposal, self._person, reason, self._now()))

    def comment(self, proposal: str, text: str) -> StatementDraft:
        return StatementDraft(Comment(proposal, self._person, text, self._now()))

    def promote(self, digest: str, reason: str) -> StatementDraft:
        """Moves the alias to what an approved proposal names."""
        request = messages.GetProposalRequest(digest=digest)
        message = self._registry.GetProposal(request).proposal
        proposal = Proposal.decode(Envelope.decode(message.envelope).payload)
        approvals = sorted(Envelope.decode(item).payload_digest for item in message.approvals)
        pointer = Pointer(
            action="promote",
            model=proposal.model,
            alias=proposal.alias,
            version=proposal.version,
            digest=proposal.digest,
            sequence=proposal.predecessor + 1,
            proposal=digest,
            approvals=tuple(approvals),
            returns_to="",
            policy=self._policy().digest,
            admin=self._person,
            time=self._now(),
            reason=reason,
        )
        return StatementDraft(pointer)

    def rollback(self, model: str, alias: str, version: int, reason: str) -> StatementDraft:
        """Returns the alias to a version that it named before.

        Raises: ROLLBACK_TARGET where it never did.
        """
        name = f"models/{model}/aliases/{alias}"
        live = self._registry.GetPointer(messages.GetPointerRequest(name=name)).pointer
        promotions = messages.ListPointersRequest(
            name=name, page_size=1, filter=f'action = "promote" AND version = {version}'
        )
        found = self._registry.ListPointers(promotions).pointers
        if not found:
            raise SealgateError(Reason.ROLLBACK_TARGET)
        returned = PointerBundle.decode(found[0].bundle).pointer
        earlier = Pointer.decode(returned.payload)
        pointer = Pointer(
            action="rollback",
            model=model,
            alias=alias,
            version=version,
            digest=earlier.digest,
            sequence=live.sequence + 1,
            proposal=earlier.proposal,
            approvals=earlier.approvals,
            returns_to=returned.payload_digest,
            policy=self._policy().digest,
            admin=self._person,
            time=self._now(),
            reason=reason,
        )
        return StatementDraft(pointer, live.etag)

    def revoke(self, model: str, version: int, reason: str) -> StatementDraft:
        """Revokes a version permanently: nothing serves it from then on."""
        request = messages.GetVersionRequest(name=f"models/{model}/versions/{version}")
        seen = self._registry.GetVersion(request).version
        revocation = Revocation(
            model=model,
            version=version,
            digest=seen.digest,
            reason=reason,
            admin=self._person,
            time=self._now(),
        )
        return StatementDraft(revocation, seen.etag)

    def _now(self) -> str:
        return format_time(self._clock())


def send_statement(registry: RegistryServiceStub, draft: StatementDraft, envelope: bytes) -> Any:
    """Send a signed draft by the call that takes its kind, once; return what the registry made.

    Raises grpc.RpcError; SealgateError(DOCUMENT_MALFORMED) for a kind that no call takes.
    """
    statement, etag = draft.statement, draft.etag
    match statement:
        case Approval():
            approval = messages.CreateApprovalRequest(envelope=envelope)
            return send(registry.CreateApproval, approval).proposal
        case Rejection():
            rejection = messages.CreateRejectionRequest(envelope=envelope)
            return send(registry.CreateRejection, rejection).proposal
        case ProposalWithdrawal():
            withdrawal = messages.WithdrawProposalRequest(envelope=envelope)
            return send(registry.WithdrawProposal, withdrawal).proposal
        case Comment():
            comment = messages.CreateCommentRequest(envelope=envelope)
            return send(registry.CreateComment, comment).proposal
        case Pointer(action="rollback"):
            rollback = messages.RollbackRequest(envelope=envelope, etag=etag)
            return send(registry.Rollback, rollback).pointer
        case Pointer():
            promotion = messages.PromoteRequest(envelope=envelope, etag=etag)
            return send(registry.Promote, promotion).pointer
        case Revocation():
            revocation = messages.RevokeVersionRequest(envelope=envelope, etag=etag)
            return send(registry.RevokeVersion, revocation).version
    raise SealgateError(Reason.DOCUMENT_MALFORMED, f"no call takes a {statement.TYPE}")


def successor_of(current: Policy, now: datetime, lifetime: timedelta) -> Document:
    """The policy in force as the next version, valid from `now`."""
    document: Document = json.loads(current.encode())
    return document | {
        "version": current.version + 1,
        "issued": format_time(now),
        "expires": format_time(now + lifetime),
    }


def checked(document: Document) -> Policy:
    """The policy that a draft is. Raises SealgateError where it contradicts itself."""
    return Policy.decode(canonical.encode(document))


def add_person(
    document: Document,
    name: str,
    roles: list[str],
    identity: str,
    keys: tuple[PublicKey, ...] = (),
) -> None:
    """Name a person, who is known by `identity`.

    Raises SealgateError: NAME_MALFORMED, PARAMETER_MALFORMED for one who is named already.
    """
    if check_name(name) in {known["name"] for known in document["principals"]}:
        raise SealgateError(Reason.PARAMETER_MALFORMED, f"the policy names {name} already")
    document["keys"] |= {key.keyid: key.pem for key in keys}
    entry = {"name": name, "roles": roles, "identities": [identity]}
    document["principals"].append(entry | {"keys": [key.keyid for key in keys]})


def remove_person(document: Document, name: str) -> None:
    """Name a person no more, nor in any right. The keys stay listed, so that what they signed
    stays valid. Raises SealgateError(PARAMETER_MALFORMED) for one who is not named.
    """
    document["principals"].remove(find_person(document, name))
    if "rights" in document:
        named = [_without(right, name) for right in document["rights"]]
        document["rights"] = [right for right in named if right["principals"] or right["roles"]]


def add_passkey(document: Document, name: str, passkey: Passkey) -> None:
    """List a passkey as one of a person's. Raises SealgateError(PARAMETER_MALFORMED) for one who
    is not named, or has it already.
    """
    entry = find_person(document, name)
    if passkey.keyid in entry["keys"]:
        raise SealgateError(Reason.PARAMETER_MALFORMED, f"{name} has this passkey already")
    document.setdefault("webauthn", {})[passkey.keyid] = passkey.to_json()
    entry["keys"] = [*entry["keys"], passkey.keyid]


def find_person(document: Document, name: str) -> Document:
    """A person's entry. Raises SealgateError(PARAMETER_MALFORMED)."""
    for known in document["principals"]:
        if known["name"] == name:
            return fields.mapping(known)
    raise SealgateError(Reason.PARAMETER_MALFORMED, f"the policy names no {name}")


def _without(right: Document, name: str) -> Document:
    return right | {"principals": [known for known in right["principals"] if known != name]}
