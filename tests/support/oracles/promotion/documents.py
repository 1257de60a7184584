"""The oracle: every document that anybody signed, with whose key, and what follows from them.

It knows who really signed what, since each signature of a run is made through `sign`. From that it
says which pointers may answer, by rules written here a second time, without the code under test.
"""

import hashlib
from dataclasses import dataclass, field

from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Approval, Pointer, Proposal, sign_statement
from sealgate.trust.statements.base import Statement
from sealgate.trust.statements.types import ROLLBACK
from sealgate.trust.times import parse_time
from tests.support.oracles.promotion.rulebook import MODEL_KEY, Rulebook, signing_key

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Published:
    """A version as its publisher made it."""

    model: str
    version: int
    digest: str
    files: dict[str, bytes]
    publisher: str = "paula"
    key: str = MODEL_KEY


def names_when_revoked(model: str, digest: str) -> set[str]:
    """The names in a statement that revokes the version: everywhere, or under its model alone."""
    text = f"sealgate/revoked-of-model/v1\n{model}\n{digest}"
    return {digest, f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"}


@dataclass(slots=True)
class Documents:
    """The documents that were signed so far in a run; `policies` are those that enough roots
    signed.
    """

    statements: dict[str, Statement] = field(default_factory=dict)
    signers: dict[str, set[str]] = field(default_factory=dict)
    envelopes: dict[str, list[Envelope]] = field(default_factory=dict)
    keys: dict[bytes, str] = field(default_factory=dict)
    policies: dict[str, Rulebook] = field(default_factory=dict)
    published: dict[tuple[str, int], Published] = field(default_factory=dict)
    _entitled: set[tuple[str, Place, str]] = field(default_factory=set)

    def copy(self) -> "Documents":
        """Another run that begins with the same documents."""
        return Documents(
            dict(self.statements),
            {digest: set(keys) for digest, keys in self.signers.items()},
            {digest: list(items) for digest, items in self.envelopes.items()},
            dict(self.keys),
            dict(self.policies),
            dict(self.published),
        )

    def sign(self, statement: Statement, key: str) -> Envelope:
        """Sign a statement with the key of that name, whoever it claims to be by."""
        envelope = sign_statement(statement, signing_key(key))
        digest = envelope.payload_digest
        self.statements[digest] = statement
        self.signers.setdefault(digest, set()).add(key)
        self.envelopes.setdefault(digest, []).append(envelope)
        self.keys[envelope.encode()] = key
        return envelope

    def of(self, kind: type[Statement]) -> list[str]:
        """The digests of all statements of a kind, in the order of their signing."""
        return [digest for digest, item in self.statements.items() if isinstance(item, kind)]

    def pointers(self) -> list[tuple[str, Pointer]]:
        """Every pointer by its digest, in the order of their signing."""
        return [(d, item) for d, item in self.statements.items() if isinstance(item, Pointer)]

    def approvals(self, proposal: str) -> tuple[str, ...]:
        """The digests of all approvals of a proposal, whoever signed them."""
        return tuple(
            digest
            for digest, item in self.statements.items()
            if isinstance(item, Approval) and item.proposal == proposal
        )

    def objection(self, digest: str, place: Place, policy: str) -> str:
        """Why the pointer of that digest may not answer at a place, under the policy of that
        digest; empty where it may.
        """
        asked = (digest, place, policy)
        if asked in self._entitled:
            return ""
        if policy not in self.policies:
            return "the roots signed no such policy"
        found = self._objection(digest, place, self.policies[policy])
        if not found:
            self._entitled.add(asked)
        return found

    def _objection(self, digest: str, place: Place, current: Rulebook) -> str:
        pointer = self.statements.get(digest)
        if not isinstance(pointer, Pointer):
            return "nobody signed this pointer"
        if (pointer.model, pointer.alias) != place:
            return "the pointer is for another place"
        named = self.policies.get(pointer.policy)
        if named is None:
            return "the pointer names a policy that the roots did not sign"
        rollback = pointer.action == ROLLBACK
        roles = ("admin", "rollback") if rollback else ("admin",)
        used = self._signed_by(digest, pointer.admin, named, *roles)
        if not used:
            return "no admin signed the pointer"
        if not any(current.counts(key, digest) for key in used):
            return "the admin's key counts no more"
        if parse_time(pointer.time) >= (named.end if rollback else named.expires):
            return "the policy had expired at the pointer's time"
        version = self.published.get((pointer.model, pointer.version))
        if version is None or version.digest != pointer.digest:
            return "nobody published this version"
        if not current.counts(version.key, version.digest):
            return "the publisher's key counts no more"
        if rollback:
            return self._against_return(pointer, place, current.digest)
        return self._against_promotion(pointer, digest, named, current, version.publisher)

    def _against_return(self, pointer: Pointer, place: Place, policy: str) -> str:
        target = self.statements.get(pointer.returns_to)
        if not isinstance(target, Pointer) or target.action == ROLLBACK:
            return "it returns to no promotion"
        if target.sequence >= pointer.sequence:
            return "it returns to a later promotion"
        if (target.version, target.digest) != (pointer.version, pointer.digest):
            return "it returns to another version"
        return self.objection(pointer.returns_to, place, policy)

    def _against_promotion(
        self, pointer: Pointer, digest: str, named: Rulebook, current: Rulebook, publisher: str
    ) -> str:
        proposal = self.statements.get(pointer.proposal)
        if not isinstance(proposal, Proposal):
            return "nobody signed the proposal"
        used = self._signed_by(pointer.proposal, proposal.proposer, named, "publisher", "admin")
        if not any(current.counts(key, digest) for key in used):
            return "no proposer's key counts"
        same = ("model", "alias", "version", "digest", "policy")
        if any(getattr(pointer, name) != getattr(proposal, name) for name in same):
            return "the proposal is of something else"
        if proposal.predecessor + 1 != pointer.sequence:
            return "the proposal was for another place in the history"
        if parse_time(pointer.time) > parse_time(proposal.not_after):
            return "the proposal's time had run out"
        approved = set()
        for name in pointer.approvals:
            approval = self.statements.get(name)
            if not isinstance(approval, Approval) or approval.proposal != pointer.proposal:
                return "an approval is of something else"
            used = self._signed_by(name, approval.approver, named, "approver")
            if not any(current.counts(key, digest) for key in used):
                return f"no key of {approval.approver} counts"
            approved.add(approval.approver)
        needed = named.needed(pointer.alias, proposal.share)
        if len(approved - {publisher, proposal.proposer}) < needed:
            return f"{sorted(approved)} approved, {needed} are needed"
        return ""

    def _signed_by(self, digest: str, person: str, named: Rulebook, *roles: str) -> frozenset[str]:
        """The person's own keys that signed a document, if the person has one of the roles."""
        return named.keys_of(person, *roles) & self.signers.get(digest, set())
