"""A small organisation with fixed keys: its policy, and the documents that its people sign."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PrivateKey
from sealgate.trust.policy import Policy, PolicyRoot, PolicyRules, Principal
from sealgate.trust.statements import (
    Approval,
    Freshness,
    Pointer,
    PointerBundle,
    Proposal,
    sign_statement,
    verify_pointer,
)
from sealgate.trust.times import format_time
from sealgate.trust.transparency import note

NOW = datetime(2026, 11, 25, 10, 0, 0, tzinfo=UTC)
VERSION_DIGEST = "sha256:" + "1" * 64
EVIDENCE = (("bill-of-materials", "sha256:" + "2" * 64), ("golden-run", "sha256:" + "3" * 64))
REGISTRY_LOG = "example.org/registry"
ANSWER_LOG = "example.org/answers"

_PEOPLE = {
    "paula": ("publisher",),
    "peter": ("publisher",),
    "anna": ("approver",),
    "arne": ("approver",),
    "otto": ("admin",),
    "carla": ("client", "auditor"),
    "fresh": ("freshness",),
    "guard": ("rollback",),
}


def key(name: str) -> PrivateKey:
    """A fixed Ed25519 key for each name."""
    seed = hashlib.sha256(name.encode()).digest()
    return PrivateKey(ed25519.Ed25519PrivateKey.from_private_bytes(seed))


def p256_key(name: str) -> PrivateKey:
    """A fixed P-256 key for each name."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()) >> 1
    return PrivateKey(ec.derive_private_key(number, ec.SECP256R1()))


def at(**offset: float) -> str:
    """A time as text, so far from NOW."""
    return format_time(NOW + timedelta(**offset))


def refused(reason: Reason) -> Any:
    """The block must raise SealgateError(reason)."""
    return pytest.raises(SealgateError, check=lambda error: error.reason is reason)


def make_policy(**changes: Any) -> Policy:
    """The organisation's first policy, with changes."""
    roots = [key(f"root-{n}") for n in range(3)]
    people = [
        Principal(name, roles, (key(name).public.keyid,), (f"mtls:{name}",))
        for name, roles in _PEOPLE.items()
    ]
    publics = [k.public for k in roots] + [key(name).public for name in _PEOPLE]
    values: dict[str, Any] = {
        "version": 1,
        "issued": at(days=-10),
        "expires": at(days=300),
        "keys": {public.keyid: public for public in publics},
        "root": PolicyRoot(tuple(k.public.keyid for k in roots), 2),
        "principals": tuple(people),
        "rules": PolicyRules({"production": 2, "canary": 1}, "block", "flag", 3600, 86400),
        "registry_log": note.vkey(REGISTRY_LOG, key("registry-log").public),
        "answer_logs": (note.vkey(ANSWER_LOG, key("answer-log").public),),
    }
    return Policy(**(values | changes))


def sign_policy(policy: Policy, *signers: str) -> Envelope:
    """The policy's envelope, signed by two roots unless told otherwise."""
    names = signers or ("root-0", "root-1")
    return dsse.sign(Policy.PAYLOAD_TYPE, policy.encode(), *(key(name) for name in names))


@dataclass(frozen=True)
class PromotionDocuments:
    """Makes the documents of a promotion under a policy; each may be changed on the way."""

    policy: Policy

    def proposal(self, **changes: Any) -> Proposal:
        proposal = Proposal(
            model="digits",
            alias="production",
            version=1,
            digest=VERSION_DIGEST,
            evidence=EVIDENCE,
            predecessor=0,
            policy=self.policy.digest,
            proposer="paula",
            created=at(hours=-2),
            not_after=at(days=7),
        )
        return replace(proposal, **changes)

    def approvals(self, proposal: Proposal, *names: str) -> tuple[Envelope, ...]:
        return tuple(
            sign_statement(
                Approval(proposal.payload_digest, name, "I have reviewed it.", at(hours=-1)),
                key(name),
            )
            for name in names
        )

    def pointer(
        self, proposal: Proposal, approvals: tuple[Envelope, ...], **changes: Any
    ) -> Pointer:
        pointer = Pointer(
            action="promote",
            model=proposal.model,
            alias=proposal.alias,
            version=proposal.version,
            digest=proposal.digest,
            sequence=proposal.predecessor + 1,
            proposal=proposal.payload_digest,
            approvals=tuple(sorted(a.payload_digest for a in approvals)),
            returns_to="",
            policy=proposal.policy,
            admin="otto",
            time=at(minutes=-30),
            reason="first release",
        )
        return replace(pointer, **changes)

    def promotion(
        self,
        approvers: tuple[str, ...] = ("anna", "arne"),
        pointer: Mapping[str, Any] | None = None,
        **proposal: Any,
    ) -> PointerBundle:
        """A whole promotion; `pointer` and the rest change the two documents."""
        proposed = self.proposal(**proposal)
        approvals = self.approvals(proposed, *approvers)
        moved = self.pointer(proposed, approvals, **(pointer or {}))
        return PointerBundle(
            sign_statement(moved, key(moved.admin)),
            sign_statement(proposed, key(proposed.proposer)),
            approvals,
        )

    def rollback(self, returned: PointerBundle, **changes: Any) -> PointerBundle:
        """A rollback to a promotion, as the third move of the alias."""
        pointer = replace(
            Pointer.decode(returned.pointer.payload),
            action="rollback",
            sequence=3,
            returns_to=returned.pointer.payload_digest,
            time=at(minutes=-5),
            reason="the new one drifts",
        )
        pointer = replace(pointer, **changes)
        return PointerBundle.rollback(sign_statement(pointer, key(pointer.admin)), returned)

    def freshness(self, *pointers: Pointer, signer: str = "fresh", **changes: Any) -> Envelope:
        states = [(f"{p.model}/{p.alias}", p.sequence, p.payload_digest) for p in pointers]
        statement = Freshness(1, tuple(sorted(states)), (), at(minutes=-1), at(minutes=59))
        return sign_statement(replace(statement, **changes), key(signer))


def verified_pointer(
    bundle: PointerBundle,
    *later: Policy,
    publisher: str = "paula",
    now: datetime = NOW,
    first: Policy | None = None,
) -> Pointer:
    """A bundle's pointer under the first policy and those that came later. Raises like
    `verify_pointer`.
    """
    chain = (first or make_policy(), *later)
    return verify_pointer(bundle, {each.digest: each for each in chain}, chain[-1], publisher, now)


def changed_people(name: str, **changes: Any) -> tuple[Principal, ...]:
    """The organisation's people, one of them changed."""
    people = make_policy().principals
    return tuple(replace(p, **changes) if p.name == name else p for p in people)


def keyid(name: str) -> str:
    """The id of a person's fixed key."""
    return key(name).public.keyid
