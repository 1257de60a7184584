"""The registry's changes as events. What an event says, the gateway said: it is no proof."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sealgate.events.kinds import CloudEvent
from sealgate.reasons import SealgateError
from sealgate.trust import canonical
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements.types import ROLLBACK
from sealgate.v1 import registry_pb2 as messages

_HASH_CHARACTERS = 16
_KINDS: Mapping[int, str] = {
    messages.CHANGE_KIND_POLICY_ACCEPTED: "policy.accepted",
    messages.CHANGE_KIND_MODEL_CREATED: "model.created",
    messages.CHANGE_KIND_WATERMARK_COMMITTED: "watermark.committed",
    messages.CHANGE_KIND_VERSION_REGISTERED: "version.registered",
    messages.CHANGE_KIND_VERSION_REVOKED: "version.revoked",
    messages.CHANGE_KIND_PROPOSAL_CREATED: "proposal.opened",
    messages.CHANGE_KIND_APPROVAL_ADDED: "proposal.approved",
    messages.CHANGE_KIND_PROPOSAL_REJECTED: "proposal.rejected",
    messages.CHANGE_KIND_PROPOSAL_WITHDRAWN: "proposal.withdrawn",
    messages.CHANGE_KIND_COMMENT_ADDED: "proposal.commented",
    messages.CHANGE_KIND_POINTER_MOVED: "alias.promoted",
    messages.CHANGE_KIND_SCREENING_WITHDRAWN: "screening.bound-withdrawn",
}


def event_of(change: messages.Change, origin: str, services: Collection[str]) -> CloudEvent | None:
    """The event of a change in the log `origin`; None for a kind that this release does not know.

    `services` are the principals whose rollbacks are automatic.
    """
    kind = _KINDS.get(change.kind)
    if kind is None:
        return None
    payload = change.WhichOneof("payload")
    data = _READERS[payload](change) if payload else {"model": _model_of(change.subject)}
    if payload == "pointer" and change.pointer.action == ROLLBACK:
        automatic = change.pointer.admin in services
        kind = "alias.rolled-back-automatically" if automatic else "alias.rolled-back"
    data = {name: value for name, value in data.items() if value not in ("", None)}
    leaf_hash = change.leaf_hash.hex()
    return CloudEvent(
        # The index alone is another entry's in a log that was put back and went on.
        f"{change.index}-{leaf_hash[:_HASH_CHARACTERS]}",
        origin,
        kind,
        change.subject,
        change.time,
        data.get("model", ""),
        {
            "log": origin,
            "index": change.index,
            "leaf_hash": leaf_hash,
            "principal": change.principal,
        }
        | data,
    )


def _model_of(name: str) -> str:
    """The model of `models/{model}/…`."""
    parts = name.split("/")
    return parts[1] if parts[0] == "models" and len(parts) > 1 else ""


def _model(change: messages.Change) -> dict[str, Any]:
    return {"model": _model_of(change.model.name)}


def _version(change: messages.Change) -> dict[str, Any]:
    version = change.version
    return {
        "model": _model_of(version.name),
        "version": int(version.name.rpartition("/")[2]),
        "digest": version.digest,
        "publisher": version.publisher,
        "reason": version.revocation_reason,
        "withdrawn": version.screening_withdrawn,
    }


def _proposal(change: messages.Change) -> dict[str, Any]:
    proposal = change.proposal
    told = _signed(proposal.envelope)
    names = ("model", "alias", "version", "digest", "proposer", "not_after", "share")
    data = {name: told.get(name) for name in names} | {"proposal": proposal.digest}
    # What was added, where that is the change.
    added = [*proposal.approvals, *proposal.rejections, *proposal.comments]
    for envelope in [*added, *filter(None, [proposal.withdrawal])]:
        reply = _signed(envelope)
        said = reply.get("reason") or reply.get("meaning") or reply.get("text")
        data |= {"approver": reply.get("approver"), "reason": said}
    return data


def _pointer(change: messages.Change) -> dict[str, Any]:
    pointer = change.pointer
    return {
        "model": _model_of(pointer.name),
        "alias": pointer.name.rpartition("/")[2],
        "version": pointer.version,
        "digest": pointer.digest,
        "sequence": pointer.sequence,
        "admin": pointer.admin,
        "reason": pointer.reason,
    }


def _policy(change: messages.Change) -> dict[str, Any]:
    told = _signed(change.policy)
    return {"version": told.get("version"), "expires": told.get("expires")}


_READERS: Mapping[str, Callable[[messages.Change], dict[str, Any]]] = {
    "model": _model,
    "version": _version,
    "proposal": _proposal,
    "pointer": _pointer,
    "policy": _policy,
}


def _signed(envelope: bytes) -> dict[str, Any]:
    """What a signed document says; nothing for a form that this release does not know."""
    try:
        read = canonical.decode(Envelope.decode(envelope).payload)
    except SealgateError:
        return {}
    return read if isinstance(read, dict) else {}
