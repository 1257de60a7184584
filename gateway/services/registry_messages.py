"""The registry's records as messages, and what requests of several services have in common."""

import re
from typing import Protocol

from google.protobuf.message import Message

from registry.audit import FeedChange
from registry.listing import ListQuery
from registry.promotion import EXPIRED, MOVED, OPEN, REJECTED, WITHDRAWN
from registry.state.records import ModelRecord, PointerRecord, ProposalRecord, VersionRecord
from registry.state.unit_of_work import RequestKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.fields import check_name, version_number
from sealgate.v1 import registry_pb2 as messages

KINDS = {
    "policy.accepted": messages.CHANGE_KIND_POLICY_ACCEPTED,
    "model.created": messages.CHANGE_KIND_MODEL_CREATED,
    "watermark.committed": messages.CHANGE_KIND_WATERMARK_COMMITTED,
    "version.registered": messages.CHANGE_KIND_VERSION_REGISTERED,
    "proposal.created": messages.CHANGE_KIND_PROPOSAL_CREATED,
    "approval.added": messages.CHANGE_KIND_APPROVAL_ADDED,
    "pointer.moved": messages.CHANGE_KIND_POINTER_MOVED,
    "version.revoked": messages.CHANGE_KIND_VERSION_REVOKED,
    "proposal.rejected": messages.CHANGE_KIND_PROPOSAL_REJECTED,
    "proposal.withdrawn": messages.CHANGE_KIND_PROPOSAL_WITHDRAWN,
    "comment.added": messages.CHANGE_KIND_COMMENT_ADDED,
    "screening.drifted": messages.CHANGE_KIND_SCREENING_WITHDRAWN,
}
"""The kind of a change by its event's name in the log."""
_STATES = {
    OPEN: messages.PROPOSAL_STATE_OPEN,
    REJECTED: messages.PROPOSAL_STATE_REJECTED,
    WITHDRAWN: messages.PROPOSAL_STATE_WITHDRAWN,
    MOVED: messages.PROPOSAL_STATE_MOVED,
    EXPIRED: messages.PROPOSAL_STATE_EXPIRED,
}


def model_message(record: ModelRecord) -> messages.Model:
    return messages.Model(
        name=f"models/{record.model}",
        create_time=record.time,
        creator=record.creator,
        latest_version=record.latest_version,
    )


def version_message(record: VersionRecord) -> messages.Version:
    return messages.Version(
        name=f"models/{record.model}/versions/{record.version}",
        digest=record.digest,
        publisher=record.publisher,
        create_time=record.time,
        manifest=record.manifest,
        signature=record.signature,
        evidence=record.evidence,
        revocation_reason=record.revocation_reason,
        watermark_entry=record.watermark_entry,
        etag=record.etag,
        screening_withdrawn=record.screening_withdrawn,
        attached=record.attached,
    )


def proposal_message(record: ProposalRecord) -> messages.Proposal:
    return messages.Proposal(
        digest=record.digest,
        envelope=record.envelope,
        approvals=record.approvals,
        rejections=record.rejections,
        withdrawal=record.withdrawal,
        comments=record.comments,
        state=_STATES.get(record.state, messages.PROPOSAL_STATE_UNSPECIFIED),
    )


def pointer_message(record: PointerRecord) -> messages.Pointer:
    return messages.Pointer(
        name=f"models/{record.model}/aliases/{record.alias}",
        sequence=record.sequence,
        version=record.version,
        digest=record.version_digest,
        action=record.action,
        admin=record.admin,
        time=record.time,
        reason=record.reason,
        bundle=record.bundle,
        etag=record.etag,
    )


def change_message(change: FeedChange) -> messages.Change:
    message = messages.Change(
        index=change.entry,
        kind=KINDS[change.event],
        time=change.time,
        principal=change.principal,
        subject=change.subject,
        leaf_hash=change.leaf_hash,
    )
    match change.record:
        case ModelRecord():
            message.model.CopyFrom(model_message(change.record))
        case VersionRecord():
            message.version.CopyFrom(version_message(change.record))
        case ProposalRecord():
            message.proposal.CopyFrom(proposal_message(change.record))
        case PointerRecord():
            message.pointer.CopyFrom(pointer_message(change.record))
        case bytes():
            message.policy = change.record
    return message


class ListRequest(Protocol):
    page_size: int
    page_token: str
    filter: str


def asked(request: ListRequest) -> ListQuery:
    """Which page is asked for. Raises: PARAMETER_MALFORMED."""
    return ListQuery(request.page_size, request.page_token, request.filter)


def once(request: Message) -> RequestKey | None:
    """By what a request is known again: its id, and all that it says; None where it has no id.

    Raises: PARAMETER_MALFORMED.
    """
    request_id = request.request_id  # type: ignore[attr-defined]
    if not request_id:
        return None
    told = request.SerializeToString(deterministic=True)
    return RequestKey(request_id, sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + told))


_VERSION_NAME = re.compile(r"models/([^/]*)/versions/([^/]*)")
_ALIAS_NAME = re.compile(r"models/([^/]*)/aliases/([^/]*)")


def parse_version(name: str) -> tuple[str, int]:
    """The model and the number of a version. Raises: NAME_MALFORMED, VERSION_MALFORMED."""
    found = _VERSION_NAME.fullmatch(name)
    if found is None:
        raise SealgateError(Reason.NAME_MALFORMED, "not models/{model}/versions/{version}")
    number = version_number(found[2])
    return check_name(found[1]), number


def parse_alias(name: str) -> tuple[str, str]:
    """The model and the alias of a pointer. Raises: NAME_MALFORMED."""
    model, alias = _model_and_alias(name)
    return model, check_name(alias)


def parse_aliases(name: str) -> tuple[str, str | None]:
    """The model and the alias of a list of pointers; None for `-`, which means all aliases
    (AIP-159). Raises: NAME_MALFORMED.
    """
    model, alias = _model_and_alias(name)
    return model, None if alias == "-" else check_name(alias)


def _model_and_alias(name: str) -> tuple[str, str]:
    found = _ALIAS_NAME.fullmatch(name)
    if found is None:
        raise SealgateError(Reason.NAME_MALFORMED, "not models/{model}/aliases/{alias}")
    return check_name(found[1]), found[2]
