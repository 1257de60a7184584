"""Signs promotion documents on the machines of publishers, approvers and admins.

Nothing that the registry says is believed unchecked: the policy is followed from the pinned root
keys, and an approver's machine hashes the version's files itself before it signs.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import grpc

from sealgate.private_keys import Ask, named_key, open_signer
from sealgate.promotion.drafts import StatementDraft, StatementDrafter, send_statement
from sealgate.promotion.reviews import ProposalReview
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Profile, reason_of
from sealgate.remote.calls import list_all, send
from sealgate.signed_version import open_attached, policy_history
from sealgate.trust import dsse
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy, open_policy_chain
from sealgate.trust.statements import (
    Evidence,
    Manifest,
    Proposal,
    oms,
    sign_statement,
    types,
)
from sealgate.trust.statements.base import Statement
from sealgate.trust.times import format_time
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub


class Governance:
    """Signs and sends one person's documents. Times are taken from `clock`, aware UTC.

    `ask` asks the person for the passphrase or PIN of their key, where it has one.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        profile: Profile,
        clock: Callable[[], datetime],
        ask: Ask | None = None,
        *,
        security_key: bool = False,
    ) -> None:
        """With `security_key`, statements are signed with one instead of the profile's key."""
        self.registry = RegistryServiceStub(channel)
        self._profile = profile
        self._clock = clock
        self._ask = ask
        self._signer: Signer | None = None
        self._security_key = security_key
        self._drafts = StatementDrafter(self.registry, profile.name, self.policy, clock)

    def policy(self) -> Policy:
        """The newest policy, reached along the chain of signatures from the pinned root keys.

        Raises: POLICY_INVALID, POLICY_EXPIRED, POLICY_ROLLED_BACK.
        """
        chain = self.registry.GetPolicy(messages.GetPolicyRequest()).envelopes
        return open_policy_chain(
            [Envelope.decode(envelope) for envelope in chain],
            self._profile.pinned_roots(),
            self._profile.root_threshold,
            self._clock(),
        )

    def propose(
        self, model: str, version: int, alias: str, lifetime: timedelta, share: int = 0
    ) -> messages.Proposal:
        """Proposes a version for an alias, bound to its evidence, the policy and the moment.

        `share` is what the alias is to get of production's requests, in percent.
        """
        now = self._clock()
        registered = self._version(model, version)
        evidence = tuple(Envelope.decode(item) for item in registered.evidence)
        proposal = Proposal(
            model=model,
            alias=alias,
            version=version,
            digest=registered.digest,
            evidence=tuple(
                sorted(
                    (Evidence.decode(item.payload).kind, item.payload_digest) for item in evidence
                )
            ),
            predecessor=self.sequence(model, alias),
            policy=self.policy().digest,
            proposer=self._profile.name,
            created=format_time(now),
            not_after=format_time(now + lifetime),
            share=share,
        )
        request = messages.CreateProposalRequest(envelope=self._sign(proposal))
        return send(self.registry.CreateProposal, request).proposal

    def review(self, digest: str, progress: Callable[[str], None]) -> ProposalReview:
        """Downloads and hashes every file of what a proposal names, and checks its signatures.

        Raises: DIGEST_MISMATCH, FILE_MISSING, SIGNATURE_INVALID and the like, on any difference.
        """
        policy = self.policy()
        message = self.registry.GetProposal(messages.GetProposalRequest(digest=digest)).proposal
        envelope = Envelope.decode(message.envelope)
        proposal = Proposal.decode(envelope.payload)
        if envelope.payload_digest != digest:
            raise SealgateError(Reason.DIGEST_MISMATCH, "the registry sent another proposal")
        dsse.verify(envelope, types.PROPOSAL, policy.signing_keys_of(proposal.proposer))
        registered = self._version(proposal.model, proposal.version)
        manifest = Manifest.decode(registered.manifest)
        for file in manifest.files:
            progress(file.path)
            if sha256(self._download(registered.name, file.path)) != file.digest:
                raise SealgateError(Reason.DIGEST_MISMATCH, file.path)
        if manifest.digest != proposal.digest:
            raise SealgateError(
                Reason.DIGEST_MISMATCH, "the manifest is not what the proposal names"
            )
        oms.verify(registered.signature, manifest, policy.keys_of(registered.publisher).values())
        evidence = self._evidence(policy, proposal, registered.evidence)
        attached = open_attached(registered.attached, proposal.digest, self._policies())
        return ProposalReview(proposal, evidence, registered.publisher, attached)

    def approve(self, digest: str, meaning: str) -> messages.Proposal:
        """Signs an approval of the proposal with that digest. Call `review` first."""
        return self._send(self._drafts.approve(digest, meaning))

    def reject(self, digest: str, reason: str) -> messages.Proposal:
        """Signs a rejection of the proposal with that digest, which ends it."""
        return self._send(self._drafts.reject(digest, reason))

    def withdraw(self, digest: str, reason: str) -> messages.Proposal:
        """Ends a proposal that this person made."""
        return self._send(self._drafts.withdraw(digest, reason))

    def comment(self, digest: str, text: str) -> messages.Proposal:
        """Signs a comment on the proposal with that digest."""
        return self._send(self._drafts.comment(digest, text))

    def promote(self, digest: str, reason: str) -> messages.Pointer:
        """Moves the alias to what an approved proposal names."""
        return self._send(self._drafts.promote(digest, reason))

    def rollback(self, model: str, alias: str, version: int, reason: str) -> messages.Pointer:
        """Returns the alias to a version that it named before.

        Raises: ROLLBACK_TARGET where it never did.
        """
        return self._send(self._drafts.rollback(model, alias, version, reason))

    def revoke(self, model: str, version: int, reason: str) -> messages.Version:
        """Revokes a version permanently: nothing serves it from then on."""
        return self._send(self._drafts.revoke(model, version, reason))

    def attach(self, model: str, version: int, envelope: bytes) -> messages.Version:
        """Sends evidence about a version that this person has signed."""
        name = f"models/{model}/versions/{version}"
        request = messages.AttachEvidenceRequest(name=name, envelope=envelope)
        return send(self.registry.AttachEvidence, request).version

    def moves(
        self, model: str, alias: str, filter_: str = "", limit: int | None = None
    ) -> Iterator[messages.Pointer]:
        """The moves of an alias, newest first."""
        request = messages.ListPointersRequest(name=_alias_name(model, alias), filter=filter_)
        return list_all(self.registry.ListPointers, request, "pointers", limit)

    def sequence(self, model: str, alias: str) -> int:
        """The sequence of the alias's latest move, 0 before the first."""
        try:
            return int(self._pointer(model, alias).sequence)
        except grpc.RpcError as error:
            if reason_of(error) is Reason.ALIAS_UNKNOWN:
                return 0
            raise

    def _policies(self) -> tuple[Policy, ...]:
        """The whole chain, oldest first."""
        roots = self._profile.pinned_roots()
        return policy_history(self.registry, roots, self._profile.root_threshold)

    def _evidence(
        self, policy: Policy, proposal: Proposal, envelopes: Iterable[bytes]
    ) -> tuple[Evidence, ...]:
        by_digest = {e.payload_digest: e for e in map(Envelope.decode, envelopes)}
        checked = []
        for kind, digest in proposal.evidence:
            if digest not in by_digest:
                raise SealgateError(Reason.FILE_MISSING, f"evidence {kind}")
            item = Evidence.decode(by_digest[digest].payload)
            if item.kind != kind or item.version_digest != proposal.digest:
                raise SealgateError(Reason.DIGEST_MISMATCH, f"evidence {kind}")
            dsse.verify(by_digest[digest], types.EVIDENCE, policy.signing_keys_of(item.maker))
            if policy.evidence is not None:
                policy.evidence.check_maker(kind, policy.principal(item.maker).roles)
            checked.append(item)
        return tuple(checked)

    def _pointer(self, model: str, alias: str) -> messages.Pointer:
        request = messages.GetPointerRequest(name=_alias_name(model, alias))
        return self.registry.GetPointer(request).pointer

    def _version(self, model: str, version: int) -> messages.Version:
        name = f"models/{model}/versions/{version}"
        return self.registry.GetVersion(messages.GetVersionRequest(name=name)).version

    def _download(self, name: str, path: str) -> bytes:
        request = messages.DownloadFileRequest(name=name, path=path)
        return b"".join(part.chunk for part in self.registry.DownloadFile(request))

    def _send(self, draft: StatementDraft) -> Any:
        return send_statement(self.registry, draft, self._sign(draft.statement))

    def _sign(self, statement: Statement) -> bytes:
        if not self._security_key:
            return sign_statement(statement, self._signing_key()).encode()
        try:
            # Only the extra `security-key` brings what this needs.
            from sealgate.promotion.security_key import sign_with_security_key
        except ImportError as error:
            detail = "fido2 is not installed: pip install 'sealgate[security-key]'"
            raise SealgateError(Reason.KEY_UNREADABLE, detail) from error
        return sign_with_security_key(statement, self.policy(), self._ask).encode()

    def _signing_key(self) -> Signer:
        if self._signer is None:
            place = named_key(self._profile.signing_key)
            self._signer = open_signer(place, self._ask)
        return self._signer


def _alias_name(model: str, alias: str) -> str:
    return f"models/{model}/aliases/{alias}"
