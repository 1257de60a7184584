"""The registry's service: messages in, messages out; the rules live in `registry`."""

import re
from collections.abc import Iterable, Iterator

from gateway.front_door import Call
from gateway.rights import Rights, unverified
from registry.records import ModelRecord, PointerRecord, ProposalRecord, VersionRecord
from registry.registry import Registry
from sealgate.reasons import Reason, Refusal
from sealgate.trust.manifest import check_path
from sealgate.trust.names import check_name
from sealgate.trust.rights import ALL
from sealgate.trust.statements import Approval, Pointer, Proposal, Revocation
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceServicer

_CHUNK = 256 * 1024
_VERSION_NAME = re.compile(r"models/([^/]*)/versions/([^/]*)")
_ALIAS_NAME = re.compile(r"models/([^/]*)/aliases/([^/]*)")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class RegistryService(RegistryServiceServicer):
    """Each call has passed the front door, so its principal may do what the method is for.

    On which model and alias, the policy's rights say, before the registry is asked.
    """

    def __init__(self, registry: Registry, rights: Rights) -> None:
        self._registry = registry
        self._rights = rights

    def GetPolicy(
        self, request: messages.GetPolicyRequest, call: Call
    ) -> messages.GetPolicyResponse:
        return messages.GetPolicyResponse(envelopes=self._registry.policies.chain().envelopes)

    def CreateModel(
        self, request: messages.CreateModelRequest, call: Call
    ) -> messages.CreateModelResponse:
        self._rights.check(call, "publish", check_name(request.model))
        record = self._registry.models.create(call.principal.name, request.model)
        return messages.CreateModelResponse(model=_model(record))

    def ListModels(
        self, request: messages.ListModelsRequest, call: Call
    ) -> messages.ListModelsResponse:
        self._rights.check(call, "read")
        records = self._registry.models.list()
        return messages.ListModelsResponse(models=[_model(record) for record in records])

    def CommitWatermark(
        self, request: messages.CommitWatermarkRequest, call: Call
    ) -> messages.CommitWatermarkResponse:
        self._rights.check(call, "publish", check_name(request.model))
        entry = self._registry.models.commit_watermark(
            call.principal.name, request.model, request.commitment
        )
        return messages.CommitWatermarkResponse(entry=entry)

    def UploadVersion(
        self, request: Iterator[messages.UploadVersionRequest], call: Call
    ) -> messages.UploadVersionResponse:
        parts = _Parts(request)
        header = parts.header()
        self._rights.check(call, "publish", check_name(header.model))
        upload = self._registry.versions.start_upload(header.model, header.manifest)
        for path in parts.files():
            upload.receive(check_path(path), parts.chunks())
        upload.finish()
        record = self._registry.versions.register(
            call.principal.name,
            header.model,
            header.manifest,
            header.signature,
            header.evidence,
            header.commitment,
        )
        return messages.UploadVersionResponse(version=_version(record))

    def GetVersion(
        self, request: messages.GetVersionRequest, call: Call
    ) -> messages.GetVersionResponse:
        model, version = _parse_version(request.name)
        self._rights.check(call, "read", model)
        record = self._registry.versions.get(model, version)
        return messages.GetVersionResponse(version=_version(record))

    def ListVersions(
        self, request: messages.ListVersionsRequest, call: Call
    ) -> messages.ListVersionsResponse:
        self._rights.check(call, "read", check_name(request.model))
        records = self._registry.versions.list(request.model)
        return messages.ListVersionsResponse(versions=[_version(record) for record in records])

    def DownloadFile(
        self, request: messages.DownloadFileRequest, call: Call
    ) -> Iterator[messages.DownloadFileResponse]:
        model, version = _parse_version(request.name)
        self._rights.check(call, "read", model)
        data = self._registry.versions.read_file(model, version, check_path(request.path))
        for start in range(0, len(data), _CHUNK):
            yield messages.DownloadFileResponse(chunk=data[start : start + _CHUNK])

    def CreateProposal(
        self, request: messages.CreateProposalRequest, call: Call
    ) -> messages.CreateProposalResponse:
        proposal = unverified(Proposal, request.envelope)
        self._rights.check(call, "propose", proposal.model, proposal.alias)
        record = self._registry.proposals.create(call.principal.name, request.envelope)
        return messages.CreateProposalResponse(proposal=_proposal(record))

    def GetProposal(
        self, request: messages.GetProposalRequest, call: Call
    ) -> messages.GetProposalResponse:
        record = self._registry.proposals.get(request.digest)
        proposal = unverified(Proposal, record.envelope)
        self._rights.check(call, "read", proposal.model, proposal.alias)
        return messages.GetProposalResponse(proposal=_proposal(record))

    def ListProposals(
        self, request: messages.ListProposalsRequest, call: Call
    ) -> messages.ListProposalsResponse:
        self._rights.check(call, "read", check_name(request.model) if request.model else ALL)
        records = self._registry.proposals.list(request.model)
        return messages.ListProposalsResponse(proposals=[_proposal(record) for record in records])

    def CreateApproval(
        self, request: messages.CreateApprovalRequest, call: Call
    ) -> messages.CreateApprovalResponse:
        approval = unverified(Approval, request.envelope)
        proposed = self._registry.proposals.get(approval.proposal)
        proposal = unverified(Proposal, proposed.envelope)
        self._rights.check(call, "approve", proposal.model, proposal.alias)
        record = self._registry.proposals.approve(call.principal.name, request.envelope)
        return messages.CreateApprovalResponse(proposal=_proposal(record))

    def Promote(self, request: messages.PromoteRequest, call: Call) -> messages.PromoteResponse:
        self._check_pointer(call, "promote", request.envelope)
        record = self._registry.pointers.promote(call.principal.name, request.envelope)
        return messages.PromoteResponse(pointer=_pointer(record))

    def Rollback(self, request: messages.RollbackRequest, call: Call) -> messages.RollbackResponse:
        self._check_pointer(call, "rollback", request.envelope)
        record = self._registry.pointers.rollback(call.principal.name, request.envelope)
        return messages.RollbackResponse(pointer=_pointer(record))

    def RevokeVersion(
        self, request: messages.RevokeVersionRequest, call: Call
    ) -> messages.RevokeVersionResponse:
        revocation = unverified(Revocation, request.envelope)
        self._rights.check(call, "revoke", revocation.model)
        record = self._registry.revocations.revoke(call.principal.name, request.envelope)
        return messages.RevokeVersionResponse(version=_version(record))

    def GetPointer(
        self, request: messages.GetPointerRequest, call: Call
    ) -> messages.GetPointerResponse:
        model, alias = _parse_alias(request.name)
        self._rights.check(call, "read", model, alias)
        record = self._registry.pointers.get(model, alias)
        return messages.GetPointerResponse(pointer=_pointer(record))

    def ListPointers(
        self, request: messages.ListPointersRequest, call: Call
    ) -> messages.ListPointersResponse:
        model, alias = _parse_alias(request.name)
        self._rights.check(call, "read", model, alias)
        records = self._registry.pointers.history(model, alias)
        return messages.ListPointersResponse(pointers=[_pointer(record) for record in records])

    def _check_pointer(self, call: Call, action: str, envelope: bytes) -> None:
        pointer = unverified(Pointer, envelope)
        self._rights.check(call, action, pointer.model, pointer.alias)


class _Parts:
    """An upload's stream: a header, then files, each a path and its chunks."""

    def __init__(self, stream: Iterator[messages.UploadVersionRequest]) -> None:
        self._stream = stream
        self._next: messages.UploadVersionRequest | None = None

    def header(self) -> messages.UploadVersionRequest.Header:
        first = next(self._stream, None)
        if first is None or first.WhichOneof("part") != "header":
            raise Refusal(Reason.DOCUMENT_MALFORMED, "an upload begins with its header")
        return first.header

    def files(self) -> Iterable[str]:
        """The path of each file; its chunks are to be taken before the next."""
        self._advance()
        while self._next is not None:
            if self._next.WhichOneof("part") != "file":
                raise Refusal(Reason.DOCUMENT_MALFORMED, "a chunk without a file")
            yield self._next.file

    def chunks(self) -> Iterable[bytes]:
        """The chunks of the file whose path came last."""
        self._advance()
        while self._next is not None and self._next.WhichOneof("part") == "chunk":
            yield self._next.chunk
            self._advance()

    def _advance(self) -> None:
        self._next = next(self._stream, None)


def _parse_version(name: str) -> tuple[str, int]:
    found = _VERSION_NAME.fullmatch(name)
    if found is None:
        raise Refusal(Reason.NAME_MALFORMED, "not models/{model}/versions/{version}")
    if not _NUMBER.fullmatch(found[2]):
        raise Refusal(Reason.VERSION_MALFORMED)
    return check_name(found[1]), int(found[2])


def _parse_alias(name: str) -> tuple[str, str]:
    found = _ALIAS_NAME.fullmatch(name)
    if found is None:
        raise Refusal(Reason.NAME_MALFORMED, "not models/{model}/aliases/{alias}")
    return check_name(found[1]), check_name(found[2])


def _model(record: ModelRecord) -> messages.Model:
    return messages.Model(
        name=f"models/{record.model}",
        create_time=record.time,
        creator=record.creator,
        latest_version=record.latest_version,
    )


def _version(record: VersionRecord) -> messages.Version:
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
    )


def _proposal(record: ProposalRecord) -> messages.Proposal:
    return messages.Proposal(
        digest=record.digest, envelope=record.envelope, approvals=record.approvals
    )


def _pointer(record: PointerRecord) -> messages.Pointer:
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
    )
