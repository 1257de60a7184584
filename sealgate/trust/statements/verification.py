"""Verifies that a pointer follows from signed statements; the database is not trusted.

A document is judged by the policy that it names, if that policy is of the chain. The current
policy has one say more: a key that it no longer lists vouches for nothing, and one that it has
withdrawn only for the pointers that it names.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from sealgate.reasons import Reason, SealgateError, roles_needed
from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.keys.webauthn import Assertion
from sealgate.trust.policy import Policy, approval_end, approvals_for
from sealgate.trust.statements.base import Statement
from sealgate.trust.statements.covering import PointerBundle
from sealgate.trust.statements.types import ROLLBACK, Approval, Pointer, Proposal
from sealgate.trust.times import CLOCK_SKEW, parse_time

_S = TypeVar("_S", bound=Statement)


def sign_statement(statement: Statement, *signers: Signer) -> Envelope:
    """Return the statement in an envelope of its type."""
    return dsse.sign(statement.PAYLOAD_TYPE, statement.encode(), *signers)


def open_statement(
    envelope: Envelope, kind: type[_S], policy: Policy, roles: Collection[str]
) -> _S:
    """Return the statement of an envelope that its author, and nobody else, has signed.

    1. The payload is of `kind` (SIGNATURE_INVALID for another type, DOCUMENT_MALFORMED).
    2. Every signature claims a key that the policy gives to the author (SIGNER_MISMATCH).
    3. The author has one of `roles` under the policy (ROLE_TOO_LOW).
    4. Every signature verifies (SIGNATURE_INVALID, and for a passkey's the reasons of
       `Passkey.verify_challenge`).
    """
    # 1.
    if envelope.payload_type != kind.PAYLOAD_TYPE:
        raise SealgateError(Reason.SIGNATURE_INVALID, f"signed as {envelope.payload_type}")
    statement = kind.decode(envelope.payload)
    # 2.
    keys = policy.signing_keys_of(statement.author)
    if [keyid for keyid, _ in envelope.signatures if keyid in keys] != _keyids(envelope):
        raise SealgateError(Reason.SIGNER_MISMATCH, f"{kind.TYPE} not signed by {statement.author}")
    # 3.
    if not set(roles).intersection(policy.principal(statement.author).roles):
        detail = f"{kind.TYPE} by {statement.author}"
        raise SealgateError(Reason.ROLE_TOO_LOW, detail, facts=roles_needed(roles))
    # 4.
    dsse.verify(envelope, kind.PAYLOAD_TYPE, keys)
    return statement


def open_under(
    envelope: Envelope, kind: type[_S], policies: Sequence[Policy], roles: Collection[str]
) -> _S:
    """Return the statement of an envelope by the newest of `policies`, oldest first, under which
    `open_statement` does: people and keys of an earlier one may be gone from the newest.

    Raises SealgateError: that under the newest, or POLICY_INVALID where there is none.
    """
    refused = None
    for policy in reversed(policies):
        try:
            return open_statement(envelope, kind, policy, roles)
        except SealgateError as refusal:
            refused = refused or refusal
    raise refused or SealgateError(Reason.POLICY_INVALID, "there is no policy")


def verify_pointer(
    bundle: PointerBundle,
    policies: Mapping[str, Policy],
    current: Policy,
    publisher: str,
    now: datetime,
) -> Pointer:
    """Return the pointer of a bundle if every document in it bears it out.

    `policies` is the verified chain by digest, `current` its newest. `publisher` is who signed
    the version's files.

    1. The current policy is still valid (POLICY_EXPIRED).
    2. The pointer names a policy of the chain (POLICY_INVALID) that had not expired at the
       pointer's time, or for a rollback still stood (POLICY_EXPIRED), and that time is not ahead
       of ours (POINTER_INVALID).
    3. The admin whom the pointer names has signed it; for a rollback, a principal of the role
       `rollback` may (reasons of `open_statement`), of an alias that the section `health` names
       where the policy has one (ROLE_TOO_LOW).
    4. A promotion follows from its proposal (reasons of `_check_proposal`) and enough people
       have approved it (reasons of `_check_approvals`).
    5. A rollback returns to a promotion of the same alias that was lower in sequence, names its
       proposal and its approvals (ROLLBACK_TARGET), and that promotion passes 2 to 5 itself.
    6. Every key that signed is listed by the current policy, and not withdrawn by it, or the
       policy names this pointer as one that stands (KEY_WITHDRAWN).

    Raises SealgateError. That the pointer is the newest, and the version not revoked, is
    what a statement of freshness says (`inference.engine.version_verifier`).
    """
    # 1.
    current.check_standing(now)
    return _verify(bundle, policies, current, publisher, now)


def _verify(
    bundle: PointerBundle,
    policies: Mapping[str, Policy],
    current: Policy,
    publisher: str,
    now: datetime,
) -> Pointer:
    claimed = Pointer.decode(bundle.pointer.payload)
    # 2.
    policy = policies.get(claimed.policy)
    if policy is None or policy.digest != claimed.policy:
        raise SealgateError(
            Reason.POLICY_INVALID, "the pointer names a policy that is not of the chain"
        )
    moment = parse_time(claimed.time)
    rolls_back = claimed.action == ROLLBACK
    (policy.check_standing if rolls_back else policy.check_unexpired)(moment)
    if moment > now + CLOCK_SKEW or moment + CLOCK_SKEW < parse_time(policy.issued):
        raise SealgateError(Reason.POINTER_INVALID, "the pointer's time cannot be")
    # 3.
    roles = ("admin", "rollback") if rolls_back else ("admin",)
    pointer = open_statement(bundle.pointer, Pointer, policy, roles)
    if rolls_back:  # 5.
        _check_health(policy, pointer)
        _check_return(pointer, bundle, policies, current, publisher, now)
    else:  # 4.
        if bundle.returned is not None:
            raise SealgateError(Reason.POINTER_INVALID, "a promotion returns to nothing")
        proposal = _check_proposal(pointer, bundle, policy)
        _check_approvals(pointer, proposal, bundle, policy, publisher)
    # 6. The other signatures of a rollback have been held against its promotion.
    rest = () if rolls_back else (bundle.proposal, *bundle.approvals)
    for keyid in (keyid for envelope in (bundle.pointer, *rest) for keyid in _keyids(envelope)):
        if not current.vouches(keyid, bundle.pointer.payload_digest):
            raise SealgateError(Reason.KEY_WITHDRAWN, keyid)
    return pointer


def _check_proposal(pointer: Pointer, bundle: PointerBundle, policy: Policy) -> Proposal:
    """Return the proposal, signed by its proposer, a publisher or an admin.

    It must carry the evidence that the policy asks for (EVIDENCE_MISSING).
    It must be the one that the pointer names, say the same of model, alias, version, digest and
    policy, and precede the pointer by one (POINTER_INVALID); its time must not have run out at
    the pointer's (PROPOSAL_EXPIRED).
    """
    proposal = open_statement(bundle.proposal, Proposal, policy, ("publisher", "admin"))
    if policy.evidence is not None:
        policy.evidence.check_kinds(kind for kind, _ in proposal.evidence)
    if pointer.proposal != bundle.proposal.payload_digest:
        raise SealgateError(Reason.POINTER_INVALID, "the pointer names another proposal")
    for name in ("model", "alias", "version", "digest", "policy"):
        if getattr(pointer, name) != getattr(proposal, name):
            raise SealgateError(Reason.POINTER_INVALID, f"pointer and proposal differ in {name}")
    if proposal.predecessor != pointer.sequence - 1:
        raise SealgateError(
            Reason.POINTER_INVALID, "the proposal was for another place in the history"
        )
    if parse_time(pointer.time) > parse_time(proposal.not_after):
        raise SealgateError(Reason.PROPOSAL_EXPIRED, f"at {proposal.not_after}")
    return proposal


def _check_approvals(
    pointer: Pointer,
    proposal: Proposal,
    bundle: PointerBundle,
    policy: Policy,
    publisher: str,
) -> None:
    """Check that enough distinct approvers have signed over this very proposal.

    The approvals are those that the pointer names (POINTER_INVALID), each over this proposal
    (POINTER_INVALID), none by the version's publisher or the proposer (SELF_APPROVAL). People
    count, and keys, never signatures (APPROVALS_MISSING; ALIAS_UNKNOWN without a rule). Where the
    policy says for how many days approvals of the model count, none that is older or of the future
    does (APPROVALS_EXPIRED if they would do otherwise). Where it demands it of the model, a
    security key made one, without a browser (SECURITY_KEY_MISSING).
    """
    digests = sorted(envelope.payload_digest for envelope in bundle.approvals)
    if list(pointer.approvals) != digests:
        raise SealgateError(Reason.POINTER_INVALID, "the pointer names other approvals")
    people: set[str] = set()
    keys: set[str] = set()
    outdated: set[str] = set()
    days, moment = policy.review_days(pointer.model), parse_time(pointer.time)
    for envelope in bundle.approvals:
        approval = open_statement(envelope, Approval, policy, ("approver",))
        if approval.proposal != pointer.proposal:
            raise SealgateError(Reason.POINTER_INVALID, "an approval of another proposal")
        if approval.approver in (publisher, proposal.proposer):
            raise SealgateError(Reason.SELF_APPROVAL, approval.approver)
        if days is not None and not _counts(approval, days, moment):
            outdated.add(approval.approver)
            continue
        people.add(approval.approver)
        keys.update(_keyids(envelope))
    needed = approvals_for(policy, pointer.model, pointer.alias, proposal.share)
    if min(len(people), len(keys)) < needed:
        if len(people | outdated) >= needed:
            raise SealgateError(Reason.APPROVALS_EXPIRED, f"{len(people)} people of {needed}")
        raise SealgateError(Reason.APPROVALS_MISSING, f"{len(people)} people of {needed}")
    if policy.demands_security_key(pointer.model):
        native = (_is_native(envelope, policy) for envelope in bundle.approvals)
        if not any(native):
            raise SealgateError(Reason.SECURITY_KEY_MISSING, pointer.model)


def _counts(approval: Approval, days: int, moment: datetime) -> bool:
    """Say whether an approval, which counts for so many days, does at that moment."""
    approved = parse_time(approval.time)
    return approved <= moment + CLOCK_SKEW and moment <= approval_end(approved, days)


def review_end(bundle: PointerBundle, policy: Policy) -> datetime | None:
    """Return until when so many approvals of a verified bundle count as the policy asks for; None
    without end. After it, the version is due for review.
    """
    proposal = Proposal.decode(bundle.proposal.payload)
    days = policy.review_days(proposal.model)
    if days is None:
        return None
    needed = approvals_for(policy, proposal.model, proposal.alias, proposal.share)
    moment = parse_time(Pointer.decode((bundle.returned or bundle).pointer.payload).time)
    newest: dict[str, datetime] = {}
    for envelope in bundle.approvals:
        approval = Approval.decode(envelope.payload)
        # An approval dated in the future would be reviewed too late, or never.
        if parse_time(approval.time) <= moment + CLOCK_SKEW:
            newest[approval.approver] = parse_time(approval.time)
    times = sorted(newest.values(), reverse=True)
    if not times or len(times) < needed:
        # The policy asks for more people than it did.
        return min(parse_time(proposal.created), moment)
    return approval_end(times[max(needed, 1) - 1], days)


def _is_native(envelope: Envelope, policy: Policy) -> bool:
    """Say whether a passkey signed it, and not at a web page. Its signatures have been verified."""
    return any(
        keyid in policy.webauthn.keys and Assertion.decode(signature).is_native
        for keyid, signature in envelope.signatures
    )


def _check_health(policy: Policy, pointer: Pointer) -> None:
    """Check that a service may return this alias: ROLE_TOO_LOW where `health` does not name it."""
    limited = policy.health is None or policy.health.limits(pointer.model, pointer.alias)
    if not limited and "admin" not in policy.principal(pointer.admin).roles:
        raise SealgateError(
            Reason.ROLE_TOO_LOW, f"{pointer.admin}: {pointer.model}/{pointer.alias}"
        )


def _check_return(
    pointer: Pointer,
    bundle: PointerBundle,
    policies: Mapping[str, Policy],
    current: Policy,
    publisher: str,
    now: datetime,
) -> None:
    if bundle.returned is None or bundle.returned.returned is not None:
        raise SealgateError(Reason.ROLLBACK_TARGET, "the promotion to return to is not shown")
    target = _verify(bundle.returned, policies, current, publisher, now)
    if pointer.returns_to != bundle.returned.pointer.payload_digest:
        raise SealgateError(Reason.ROLLBACK_TARGET, "another promotion is shown than is named")
    for name in ("model", "alias", "version", "digest", "proposal", "approvals"):
        if getattr(pointer, name) != getattr(target, name):
            raise SealgateError(Reason.ROLLBACK_TARGET, f"rollback and promotion differ in {name}")
    if target.action == ROLLBACK or target.sequence >= pointer.sequence:
        raise SealgateError(
            Reason.ROLLBACK_TARGET, "the target of the rollback is not an earlier promotion"
        )


def _keyids(envelope: Envelope) -> list[str]:
    return [keyid for keyid, _ in envelope.signatures]
