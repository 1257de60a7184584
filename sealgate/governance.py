"""The people's side of a promotion: what publishers, approvers and admins sign, on their machines.

Nothing that the registry says is believed unchecked: the policy is followed from the pinned root
keys, and an approver's machine hashes the version's files itself before it signs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import grpc

from sealgate.reasons import Reason, Refusal
from sealgate.remote import Profile, reason_of
from sealgate.trust import dsse, oms, statements
from sealgate.trust.digest import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PrivateKey, load_private_key
from sealgate.trust.manifest import Manifest
from sealgate.trust.policy import Policy, open_policy_chain
from sealgate.trust.statements import (
    Approval,
    Evidence,
    Pointer,
    PointerBundle,
    Proposal,
    Revocation,
)
from sealgate.trust.times import format_time
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Review:
    """What an approver's machine found: the proposal, and the evidence beside it, all checked."""

    proposal: Proposal
    evidence: tuple[Evidence, ...]
    publisher: str


class Governance:
    """Signs and sends one person's documents. Times are taken from `clock`, aware UTC."""

    def __init__(
        self, channel: grpc.Channel, profile: Profile, clock: Callable[[], datetime]
    ) -> None:
        self.registry = RegistryServiceStub(channel)
        self._profile = profile
        self._clock = clock

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

    def upload(
        self, header: messages.UploadVersionRequest.Header, files: Mapping[str, bytes]
    ) -> messages.Version:
        """Uploads a version's files and registers it."""
        return self.registry.UploadVersion(_parts(header, files)).version

    def propose(
        self, model: str, version: int, alias: str, lifetime: timedelta
    ) -> messages.Proposal:
        """Proposes a version for an alias, bound to its evidence, the policy and the moment."""
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
        )
        envelope = dsse.sign(statements.PROPOSAL, proposal.encode(), self._signing_key())
        request = messages.CreateProposalRequest(envelope=envelope.encode())
        return self.registry.CreateProposal(request).proposal

    def review(self, digest: str, progress: Callable[[str], None]) -> Review:
        """Downloads and hashes every file of what a proposal names, and checks its signatures.

        Raises: DIGEST_MISMATCH, FILE_MISSING, SIGNATURE_INVALID and the like, on any difference.
        """
        policy = self.policy()
        message = self.registry.GetProposal(messages.GetProposalRequest(digest=digest)).proposal
        envelope = Envelope.decode(message.envelope)
        proposal = Proposal.decode(envelope.payload)
        if envelope.payload_digest != digest:
            raise Refusal(Reason.DIGEST_MISMATCH, "the registry sent another proposal")
        dsse.verify(envelope, statements.PROPOSAL, policy.keys_of(proposal.proposer))
        registered = self._version(proposal.model, proposal.version)
        manifest = Manifest.decode(registered.manifest)
        for file in manifest.files:
            progress(file.path)
            if sha256(self._download(registered.name, file.path)) != file.digest:
                raise Refusal(Reason.DIGEST_MISMATCH, file.path)
        if manifest.digest != proposal.digest:
            raise Refusal(Reason.DIGEST_MISMATCH, "the manifest is not what the proposal names")
        oms.verify(registered.signature, manifest, policy.keys_of(registered.publisher).values())
        evidence = self._evidence(policy, proposal, registered.evidence)
        return Review(proposal, evidence, registered.publisher)

    def approve(self, digest: str, meaning: str) -> messages.Proposal:
        """Signs an approval of the proposal with that digest. Call `review` first."""
        approval = Approval(digest, self._profile.name, meaning, format_time(self._clock()))
        envelope = dsse.sign(statements.APPROVAL, approval.encode(), self._signing_key())
        request = messages.CreateApprovalRequest(envelope=envelope.encode())
        return self.registry.CreateApproval(request).proposal

    def promote(self, digest: str, reason: str) -> messages.Pointer:
        """Moves the alias to what an approved proposal names."""
        message = self.registry.GetProposal(messages.GetProposalRequest(digest=digest)).proposal
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
            policy=self.policy().digest,
            admin=self._profile.name,
            time=format_time(self._clock()),
            reason=reason,
        )
        request = messages.PromoteRequest(envelope=self._sign(statements.POINTER, pointer.encode()))
        return self.registry.Promote(request).pointer

    def rollback(self, model: str, alias: str, version: int, reason: str) -> messages.Pointer:
        """Returns the alias to a version that it named before.

        Raises: ROLLBACK_TARGET where it never did.
        """
        name = _alias_name(model, alias)
        history = self.registry.ListPointers(messages.ListPointersRequest(name=name)).pointers
        target = next((p for p in history if p.version == version and p.action == "promote"), None)
        if target is None:
            raise Refusal(Reason.ROLLBACK_TARGET)
        returned = PointerBundle.decode(target.bundle).pointer
        earlier = Pointer.decode(returned.payload)
        pointer = Pointer(
            action="rollback",
            model=model,
            alias=alias,
            version=version,
            digest=earlier.digest,
            sequence=history[0].sequence + 1,
            proposal=earlier.proposal,
            approvals=earlier.approvals,
            returns_to=returned.payload_digest,
            policy=self.policy().digest,
            admin=self._profile.name,
            time=format_time(self._clock()),
            reason=reason,
        )
        request = messages.RollbackRequest(
            envelope=self._sign(statements.POINTER, pointer.encode())
        )
        return self.registry.Rollback(request).pointer

    def revoke(self, model: str, version: int, reason: str) -> messages.Version:
        """Revokes a version for good: nothing serves it from then on."""
        revocation = Revocation(
            model=model,
            version=version,
            digest=self._version(model, version).digest,
            reason=reason,
            admin=self._profile.name,
            time=format_time(self._clock()),
        )
        envelope = self._sign(statements.REVOCATION, revocation.encode())
        return self.registry.RevokeVersion(messages.RevokeVersionRequest(envelope=envelope)).version

    def sequence(self, model: str, alias: str) -> int:
        """The sequence of the alias's latest move, 0 before the first."""
        request = messages.GetPointerRequest(name=_alias_name(model, alias))
        try:
            return int(self.registry.GetPointer(request).pointer.sequence)
        except grpc.RpcError as error:
            if reason_of(error) is Reason.ALIAS_UNKNOWN:
                return 0
            raise

    def _evidence(
        self, policy: Policy, proposal: Proposal, envelopes: Iterable[bytes]
    ) -> tuple[Evidence, ...]:
        by_digest = {e.payload_digest: e for e in map(Envelope.decode, envelopes)}
        checked = []
        for kind, digest in proposal.evidence:
            if digest not in by_digest:
                raise Refusal(Reason.FILE_MISSING, f"evidence {kind}")
            item = Evidence.decode(by_digest[digest].payload)
            if item.kind != kind or item.version_digest != proposal.digest:
                raise Refusal(Reason.DIGEST_MISMATCH, f"evidence {kind}")
            dsse.verify(by_digest[digest], statements.EVIDENCE, policy.keys_of(item.maker))
            checked.append(item)
        return tuple(checked)

    def _version(self, model: str, version: int) -> messages.Version:
        name = f"models/{model}/versions/{version}"
        return self.registry.GetVersion(messages.GetVersionRequest(name=name)).version

    def _download(self, name: str, path: str) -> bytes:
        request = messages.DownloadFileRequest(name=name, path=path)
        return b"".join(part.chunk for part in self.registry.DownloadFile(request))

    def _sign(self, kind: str, payload: bytes) -> bytes:
        return dsse.sign(kind, payload, self._signing_key()).encode()

    def _signing_key(self) -> PrivateKey:
        return load_private_key(_required(self._profile.signing_key, "signing_key"))


def _required(path: Path | None, setting: str) -> Path:
    if path is None:
        raise Refusal(Reason.KEY_UNREADABLE, f"the profile names no {setting}")
    return path


def _alias_name(model: str, alias: str) -> str:
    return f"models/{model}/aliases/{alias}"


def _parts(
    header: messages.UploadVersionRequest.Header, files: Mapping[str, bytes]
) -> Iterator[messages.UploadVersionRequest]:
    yield messages.UploadVersionRequest(header=header)
    for path, data in files.items():
        yield messages.UploadVersionRequest(file=path)
        for start in range(0, len(data), _CHUNK):
            yield messages.UploadVersionRequest(chunk=data[start : start + _CHUNK])
