"""The registry's records as messages."""

from registry.audit.feed import FeedChange
from registry.state.records import ModelRecord, PointerRecord, ProposalRecord, VersionRecord
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
}
"""The kind of a change by its event's name in the log."""


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
        digest=record.digest, envelope=record.envelope, approvals=record.approvals
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
