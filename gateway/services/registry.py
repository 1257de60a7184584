"""The registry's service: messages in, messages out; the rules live in `registry`."""

from collections.abc import Iterator

from gateway.auth import Rights, unverified
from gateway.calls.call import Call
from gateway.services.event_streams import ChangeWatch
from gateway.services.registry_messages import (
    asked,
    model_message,
    once,
    parse_alias,
    parse_aliases,
    parse_version,
    pointer_message,
    proposal_message,
    version_message,
)
from gateway.services.uploads import UploadParts
from inference.engine.version_contents import GOLDEN, MODEL
from inference.llm.terms import GOLDEN as GOLDEN_PROMPTS
from inference.llm.terms import TERMS
from registry.policy import Policies
from registry.registry import Registry
from registry.state.records import ProposalRecord
from sealgate.reasons import Reason, SealgateError, roles_needed
from sealgate.trust.fields import check_name
from sealgate.trust.policy import STAFF_ROLES, WILDCARD, Principal
from sealgate.trust.statements import (
    Approval,
    Comment,
    Pointer,
    Proposal,
    ProposalWithdrawal,
    Rejection,
    Revocation,
)
from sealgate.trust.statements.manifest import check_path
from sealgate.v1 import policy_pb2 as policy_messages
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.policy_pb2_grpc import PolicyServiceServicer
from sealgate.v1.registry_pb2 import Version
from sealgate.v1.registry_pb2_grpc import RegistryServiceServicer

_FILES = frozenset({MODEL, GOLDEN, TERMS, GOLDEN_PROMPTS})


def check_file(caller: Principal, path: str) -> None:
    """Raises: ROLE_TOO_LOW."""
    if STAFF_ROLES.isdisjoint(caller.roles) and path not in _FILES:
        detail = f"{caller.name} on a file of a version"
        raise SealgateError(Reason.ROLE_TOO_LOW, detail, facts=roles_needed(STAFF_ROLES))


def shown(caller: Principal, version: Version) -> Version:
    """The version as the caller may see it."""
    if STAFF_ROLES.isdisjoint(caller.roles):
        version.ClearField("evidence")
        version.ClearField("attached")
    return version


_CHUNK = 256 * 1024


class RegistryService(RegistryServiceServicer):
    """`AuthInterceptor` has admitted each call: its principal may use the method.

    On which model and alias, the policy's rights say, before the registry is asked.
    """

    def __init__(self, registry: Registry, rights: Rights, watch: ChangeWatch) -> None:
        self._registry = registry
        self._rights = rights
        self._watch = watch

    def GetPolicy(
        self, request: messages.GetPolicyRequest, call: Call
    ) -> messages.GetPolicyResponse:
        chain = self._registry.policies.chain()
        return messages.GetPolicyResponse(envelopes=chain.envelopes, etag=chain.etag)

    def CreateModel(
        self, request: messages.CreateModelRequest, call: Call
    ) -> messages.CreateModelResponse:
        self._rights.check(call, "publish", check_name(request.model))
        record = self._registry.models.create(call.principal.name, request.model, once(request))
        return messages.CreateModelResponse(model=model_message(record))

    def ListModels(
        self, request: messages.ListModelsRequest, call: Call
    ) -> messages.ListModelsResponse:
        self._rights.check(call, "read")
        page = self._registry.models.list(asked(request)).map(model_message)
        return messages.ListModelsResponse(
            models=page.records, next_page_token=page.next_page_token
        )

    def CommitWatermark(
        self, request: messages.CommitWatermarkRequest, call: Call
    ) -> messages.CommitWatermarkResponse:
        self._rights.check(call, "publish", check_name(request.model))
        entry = self._registry.models.commit_watermark(
            call.principal.name, request.model, request.commitment, once(request)
        )
        leaf = self._registry.log.entry(entry)
        return messages.CommitWatermarkResponse(entry=entry, leaf=leaf)

    def UploadVersion(
        self, request: Iterator[messages.UploadVersionRequest], call: Call
    ) -> messages.UploadVersionResponse:
        parts = UploadParts(request)
        header = parts.header()
        self._rights.check(call, "publish", check_name(header.model))
        name, same = call.principal.name, once(header)
        done = self._registry.versions.done(name, same)
        if done is not None:
            return messages.UploadVersionResponse(version=version_message(done))
        upload = self._registry.versions.start_upload(
            name, header.model, header.manifest, header.signature
        )
        for path in parts.files():
            upload.receive(check_path(path), parts.chunks())
        upload.finish()
        record = self._registry.versions.register(
            name,
            header.model,
            header.manifest,
            header.signature,
            header.evidence,
            header.commitment,
            same,
        )
        return messages.UploadVersionResponse(version=version_message(record))

    def GetVersion(
        self, request: messages.GetVersionRequest, call: Call
    ) -> messages.GetVersionResponse:
        model, version = parse_version(request.name)
        self._rights.check(call, "read", model)
        message = version_message(self._registry.versions.get(model, version))
        return messages.GetVersionResponse(version=shown(call.principal, message))

    def ListVersions(
        self, request: messages.ListVersionsRequest, call: Call
    ) -> messages.ListVersionsResponse:
        self._rights.check(call, "read", check_name(request.model))
        signed = request.view != messages.VERSION_VIEW_BASIC
        page = self._registry.versions.list(request.model, asked(request), signed=signed)
        return messages.ListVersionsResponse(
            versions=map(version_message, page.records), next_page_token=page.next_page_token
        )

    def DownloadFile(
        self, request: messages.DownloadFileRequest, call: Call
    ) -> Iterator[messages.DownloadFileResponse]:
        model, version = parse_version(request.name)
        self._rights.check(call, "read", model)
        check_file(call.principal, request.path)
        path = check_path(request.path)
        for block in self._registry.versions.file_blocks(model, version, path):
            for start in range(0, len(block), _CHUNK):
                self._rights.check(call, "read", model)
                yield messages.DownloadFileResponse(chunk=block[start : start + _CHUNK])

    def AttachEvidence(
        self, request: messages.AttachEvidenceRequest, call: Call
    ) -> messages.AttachEvidenceResponse:
        model, version = parse_version(request.name)
        self._rights.check(call, "attach", model)
        record = self._registry.attachments.attach(
            call.principal.name, model, version, request.envelope, once(request)
        )
        return messages.AttachEvidenceResponse(version=version_message(record))

    def CreateProposal(
        self, request: messages.CreateProposalRequest, call: Call
    ) -> messages.CreateProposalResponse:
        proposal = unverified(Proposal, request.envelope)
        self._rights.check(call, "propose", proposal.model, proposal.alias)
        name = call.principal.name
        record = self._registry.proposals.create(name, request.envelope, once(request))
        return messages.CreateProposalResponse(proposal=proposal_message(record))

    def GetProposal(
        self, request: messages.GetProposalRequest, call: Call
    ) -> messages.GetProposalResponse:
        record = self._check_proposal(call, "read", request.digest)
        return messages.GetProposalResponse(proposal=proposal_message(record))

    def ListProposals(
        self, request: messages.ListProposalsRequest, call: Call
    ) -> messages.ListProposalsResponse:
        self._rights.check(call, "read", check_name(request.model) if request.model else WILDCARD)
        page = self._registry.proposals.list(request.model, asked(request)).map(proposal_message)
        return messages.ListProposalsResponse(
            proposals=page.records, next_page_token=page.next_page_token
        )

    def CreateApproval(
        self, request: messages.CreateApprovalRequest, call: Call
    ) -> messages.CreateApprovalResponse:
        self._check_proposal(call, "approve", unverified(Approval, request.envelope).proposal)
        name = call.principal.name
        record = self._registry.proposals.approve(name, request.envelope, once(request))
        return messages.CreateApprovalResponse(proposal=proposal_message(record))

    def CreateRejection(
        self, request: messages.CreateRejectionRequest, call: Call
    ) -> messages.CreateRejectionResponse:
        self._check_proposal(call, "approve", unverified(Rejection, request.envelope).proposal)
        name = call.principal.name
        record = self._registry.replies.reject(name, request.envelope, once(request))
        return messages.CreateRejectionResponse(proposal=proposal_message(record))

    def WithdrawProposal(
        self, request: messages.WithdrawProposalRequest, call: Call
    ) -> messages.WithdrawProposalResponse:
        withdrawn = unverified(ProposalWithdrawal, request.envelope).proposal
        self._check_proposal(call, "propose", withdrawn)
        name = call.principal.name
        record = self._registry.replies.withdraw(name, request.envelope, once(request))
        return messages.WithdrawProposalResponse(proposal=proposal_message(record))

    def CreateComment(
        self, request: messages.CreateCommentRequest, call: Call
    ) -> messages.CreateCommentResponse:
        self._check_proposal(call, "read", unverified(Comment, request.envelope).proposal)
        name = call.principal.name
        record = self._registry.replies.comment(name, request.envelope, once(request))
        return messages.CreateCommentResponse(proposal=proposal_message(record))

    def Promote(self, request: messages.PromoteRequest, call: Call) -> messages.PromoteResponse:
        self._check_pointer(call, "promote", request.envelope)
        record = self._registry.pointers.promote(
            call.principal.name, request.envelope, once(request), request.etag
        )
        return messages.PromoteResponse(pointer=pointer_message(record))

    def Rollback(self, request: messages.RollbackRequest, call: Call) -> messages.RollbackResponse:
        self._check_pointer(call, "rollback", request.envelope)
        record = self._registry.pointers.rollback(
            call.principal.name, request.envelope, once(request), request.etag
        )
        return messages.RollbackResponse(pointer=pointer_message(record))

    def RevokeVersion(
        self, request: messages.RevokeVersionRequest, call: Call
    ) -> messages.RevokeVersionResponse:
        revocation = unverified(Revocation, request.envelope)
        self._rights.check(call, "revoke", revocation.model)
        record = self._registry.revocations.revoke(
            call.principal.name, request.envelope, once(request), request.etag
        )
        return messages.RevokeVersionResponse(version=version_message(record))

    def GetPointer(
        self, request: messages.GetPointerRequest, call: Call
    ) -> messages.GetPointerResponse:
        model, alias = parse_alias(request.name)
        self._rights.check(call, "read", model, alias)
        record = self._registry.pointers.get(model, alias)
        return messages.GetPointerResponse(pointer=pointer_message(record))

    def ListPointers(
        self, request: messages.ListPointersRequest, call: Call
    ) -> messages.ListPointersResponse:
        model, alias = parse_aliases(request.name)
        self._rights.check(call, "read", model, alias)
        page = self._registry.pointers.history(model, alias, asked(request)).map(pointer_message)
        return messages.ListPointersResponse(
            pointers=page.records, next_page_token=page.next_page_token
        )

    def WatchChanges(
        self, request: messages.WatchChangesRequest, call: Call
    ) -> Iterator[messages.WatchChangesResponse]:
        yield from self._watch.stream(request, call)

    def _check_proposal(self, call: Call, action: str, digest: str) -> ProposalRecord:
        record = self._registry.proposals.get(digest)
        proposal = unverified(Proposal, record.envelope)
        self._rights.check(call, action, proposal.model, proposal.alias)
        return record

    def _check_pointer(self, call: Call, action: str, envelope: bytes) -> None:
        pointer = unverified(Pointer, envelope)
        self._rights.check(call, action, pointer.model, pointer.alias)


class PolicyService(PolicyServiceServicer):
    """`AuthInterceptor` has admitted each call. The registry's chain decides; see
    `Policies.accept`.
    """

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    def AcceptPolicy(
        self, request: policy_messages.AcceptPolicyRequest, call: Call
    ) -> policy_messages.AcceptPolicyResponse:
        policy = self._policies.accept(
            call.principal.name, request.envelope, once(request), request.etag
        )
        return policy_messages.AcceptPolicyResponse(version=policy.version, digest=policy.digest)
