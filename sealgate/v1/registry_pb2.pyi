from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProposalState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROPOSAL_STATE_UNSPECIFIED: _ClassVar[ProposalState]
    PROPOSAL_STATE_OPEN: _ClassVar[ProposalState]
    PROPOSAL_STATE_REJECTED: _ClassVar[ProposalState]
    PROPOSAL_STATE_WITHDRAWN: _ClassVar[ProposalState]
    PROPOSAL_STATE_MOVED: _ClassVar[ProposalState]
    PROPOSAL_STATE_EXPIRED: _ClassVar[ProposalState]

class VersionView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERSION_VIEW_UNSPECIFIED: _ClassVar[VersionView]
    VERSION_VIEW_BASIC: _ClassVar[VersionView]
    VERSION_VIEW_FULL: _ClassVar[VersionView]

class ChangeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANGE_KIND_UNSPECIFIED: _ClassVar[ChangeKind]
    CHANGE_KIND_POLICY_ACCEPTED: _ClassVar[ChangeKind]
    CHANGE_KIND_MODEL_CREATED: _ClassVar[ChangeKind]
    CHANGE_KIND_WATERMARK_COMMITTED: _ClassVar[ChangeKind]
    CHANGE_KIND_VERSION_REGISTERED: _ClassVar[ChangeKind]
    CHANGE_KIND_PROPOSAL_CREATED: _ClassVar[ChangeKind]
    CHANGE_KIND_APPROVAL_ADDED: _ClassVar[ChangeKind]
    CHANGE_KIND_POINTER_MOVED: _ClassVar[ChangeKind]
    CHANGE_KIND_VERSION_REVOKED: _ClassVar[ChangeKind]
    CHANGE_KIND_PROPOSAL_REJECTED: _ClassVar[ChangeKind]
    CHANGE_KIND_PROPOSAL_WITHDRAWN: _ClassVar[ChangeKind]
    CHANGE_KIND_COMMENT_ADDED: _ClassVar[ChangeKind]
    CHANGE_KIND_SCREENING_WITHDRAWN: _ClassVar[ChangeKind]
PROPOSAL_STATE_UNSPECIFIED: ProposalState
PROPOSAL_STATE_OPEN: ProposalState
PROPOSAL_STATE_REJECTED: ProposalState
PROPOSAL_STATE_WITHDRAWN: ProposalState
PROPOSAL_STATE_MOVED: ProposalState
PROPOSAL_STATE_EXPIRED: ProposalState
VERSION_VIEW_UNSPECIFIED: VersionView
VERSION_VIEW_BASIC: VersionView
VERSION_VIEW_FULL: VersionView
CHANGE_KIND_UNSPECIFIED: ChangeKind
CHANGE_KIND_POLICY_ACCEPTED: ChangeKind
CHANGE_KIND_MODEL_CREATED: ChangeKind
CHANGE_KIND_WATERMARK_COMMITTED: ChangeKind
CHANGE_KIND_VERSION_REGISTERED: ChangeKind
CHANGE_KIND_PROPOSAL_CREATED: ChangeKind
CHANGE_KIND_APPROVAL_ADDED: ChangeKind
CHANGE_KIND_POINTER_MOVED: ChangeKind
CHANGE_KIND_VERSION_REVOKED: ChangeKind
CHANGE_KIND_PROPOSAL_REJECTED: ChangeKind
CHANGE_KIND_PROPOSAL_WITHDRAWN: ChangeKind
CHANGE_KIND_COMMENT_ADDED: ChangeKind
CHANGE_KIND_SCREENING_WITHDRAWN: ChangeKind

class Model(_message.Message):
    __slots__ = ("name", "create_time", "creator", "latest_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    LATEST_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    create_time: str
    creator: str
    latest_version: int
    def __init__(self, name: _Optional[str] = ..., create_time: _Optional[str] = ..., creator: _Optional[str] = ..., latest_version: _Optional[int] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("name", "digest", "publisher", "create_time", "manifest", "signature", "evidence", "revocation_reason", "watermark_entry", "etag", "screening_withdrawn", "attached")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    REVOCATION_REASON_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_ENTRY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    SCREENING_WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    publisher: str
    create_time: str
    manifest: bytes
    signature: bytes
    evidence: _containers.RepeatedScalarFieldContainer[bytes]
    revocation_reason: str
    watermark_entry: int
    etag: str
    screening_withdrawn: str
    attached: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., publisher: _Optional[str] = ..., create_time: _Optional[str] = ..., manifest: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., evidence: _Optional[_Iterable[bytes]] = ..., revocation_reason: _Optional[str] = ..., watermark_entry: _Optional[int] = ..., etag: _Optional[str] = ..., screening_withdrawn: _Optional[str] = ..., attached: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("digest", "envelope", "approvals", "rejections", "withdrawal", "comments", "state")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    COMMENTS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    digest: str
    envelope: bytes
    approvals: _containers.RepeatedScalarFieldContainer[bytes]
    rejections: _containers.RepeatedScalarFieldContainer[bytes]
    withdrawal: bytes
    comments: _containers.RepeatedScalarFieldContainer[bytes]
    state: ProposalState
    def __init__(self, digest: _Optional[str] = ..., envelope: _Optional[bytes] = ..., approvals: _Optional[_Iterable[bytes]] = ..., rejections: _Optional[_Iterable[bytes]] = ..., withdrawal: _Optional[bytes] = ..., comments: _Optional[_Iterable[bytes]] = ..., state: _Optional[_Union[ProposalState, str]] = ...) -> None: ...

class Pointer(_message.Message):
    __slots__ = ("name", "sequence", "version", "digest", "action", "admin", "time", "reason", "bundle", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ADMIN_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    sequence: int
    version: int
    digest: str
    action: str
    admin: str
    time: str
    reason: str
    bundle: bytes
    etag: str
    def __init__(self, name: _Optional[str] = ..., sequence: _Optional[int] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ..., action: _Optional[str] = ..., admin: _Optional[str] = ..., time: _Optional[str] = ..., reason: _Optional[str] = ..., bundle: _Optional[bytes] = ..., etag: _Optional[str] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("envelopes", "etag")
    ENVELOPES_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    envelopes: _containers.RepeatedScalarFieldContainer[bytes]
    etag: str
    def __init__(self, envelopes: _Optional[_Iterable[bytes]] = ..., etag: _Optional[str] = ...) -> None: ...

class CreateModelRequest(_message.Message):
    __slots__ = ("model", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    request_id: str
    def __init__(self, model: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CommitWatermarkRequest(_message.Message):
    __slots__ = ("model", "commitment", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    commitment: str
    request_id: str
    def __init__(self, model: _Optional[str] = ..., commitment: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CommitWatermarkResponse(_message.Message):
    __slots__ = ("entry", "leaf")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    LEAF_FIELD_NUMBER: _ClassVar[int]
    entry: int
    leaf: bytes
    def __init__(self, entry: _Optional[int] = ..., leaf: _Optional[bytes] = ...) -> None: ...

class UploadVersionRequest(_message.Message):
    __slots__ = ("header", "file", "chunk")
    class Header(_message.Message):
        __slots__ = ("model", "manifest", "signature", "evidence", "commitment", "request_id")
        MODEL_FIELD_NUMBER: _ClassVar[int]
        MANIFEST_FIELD_NUMBER: _ClassVar[int]
        SIGNATURE_FIELD_NUMBER: _ClassVar[int]
        EVIDENCE_FIELD_NUMBER: _ClassVar[int]
        COMMITMENT_FIELD_NUMBER: _ClassVar[int]
        REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
        model: str
        manifest: bytes
        signature: bytes
        evidence: _containers.RepeatedScalarFieldContainer[bytes]
        commitment: str
        request_id: str
        def __init__(self, model: _Optional[str] = ..., manifest: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., evidence: _Optional[_Iterable[bytes]] = ..., commitment: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...
    HEADER_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: UploadVersionRequest.Header
    file: str
    chunk: bytes
    def __init__(self, header: _Optional[_Union[UploadVersionRequest.Header, _Mapping]] = ..., file: _Optional[str] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadVersionResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: Version
    def __init__(self, version: _Optional[_Union[Version, _Mapping]] = ...) -> None: ...

class GetVersionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetVersionResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: Version
    def __init__(self, version: _Optional[_Union[Version, _Mapping]] = ...) -> None: ...

class ListVersionsRequest(_message.Message):
    __slots__ = ("model", "page_size", "page_token", "filter", "view")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    model: str
    page_size: int
    page_token: str
    filter: str
    view: VersionView
    def __init__(self, model: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., view: _Optional[_Union[VersionView, str]] = ...) -> None: ...

class ListVersionsResponse(_message.Message):
    __slots__ = ("versions", "next_page_token")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[Version]
    next_page_token: str
    def __init__(self, versions: _Optional[_Iterable[_Union[Version, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DownloadFileRequest(_message.Message):
    __slots__ = ("name", "path")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class DownloadFileResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class AttachEvidenceRequest(_message.Message):
    __slots__ = ("name", "envelope", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    envelope: bytes
    request_id: str
    def __init__(self, name: _Optional[str] = ..., envelope: _Optional[bytes] = ..., request_id: _Optional[str] = ...) -> None: ...

class AttachEvidenceResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: Version
    def __init__(self, version: _Optional[_Union[Version, _Mapping]] = ...) -> None: ...

class CreateProposalRequest(_message.Message):
    __slots__ = ("envelope", "request_id")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    request_id: str
    def __init__(self, envelope: _Optional[bytes] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateProposalResponse(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: Proposal
    def __init__(self, proposal: _Optional[_Union[Proposal, _Mapping]] = ...) -> None: ...

class GetProposalRequest(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...

class GetProposalResponse(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: Proposal
    def __init__(self, proposal: _Optional[_Union[Proposal, _Mapping]] = ...) -> None: ...

class ListProposalsRequest(_message.Message):
    __slots__ = ("model", "page_size", "page_token", "filter")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    model: str
    page_size: int
    page_token: str
    filter: str
    def __init__(self, model: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListProposalsResponse(_message.Message):
    __slots__ = ("proposals", "next_page_token")
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    proposals: _containers.RepeatedCompositeFieldContainer[Proposal]
    next_page_token: str
    def __init__(self, proposals: _Optional[_Iterable[_Union[Proposal, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CreateApprovalRequest(_message.Message):
    __slots__ = ("envelope", "request_id")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    request_id: str
    def __init__(self, envelope: _Optional[bytes] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateApprovalResponse(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: Proposal
    def __init__(self, proposal: _Optional[_Union[Proposal, _Mapping]] = ...) -> None: ...

class CreateRejectionRequest(_message.Message):
    __slots__ = ("envelope", "request_id")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    request_id: str
    def __init__(self, envelope: _Optional[bytes] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateRejectionResponse(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: Proposal
    def __init__(self, proposal: _Optional[_Union[Proposal, _Mapping]] = ...) -> None: ...

class WithdrawProposalRequest(_message.Message):
    __slots__ = ("envelope", "request_id")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    request_id: str
    def __init__(self, envelope: _Optional[bytes] = ..., request_id: _Optional[str] = ...) -> None: ...

class WithdrawProposalResponse(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: Proposal
    def __init__(self, proposal: _Optional[_Union[Proposal, _Mapping]] = ...) -> None: ...

class CreateCommentRequest(_message.Message):
    __slots__ = ("envelope", "request_id")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    request_id: str
    def __init__(self, envelope: _Optional[bytes] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateCommentResponse(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: Proposal
    def __init__(self, proposal: _Optional[_Union[Proposal, _Mapping]] = ...) -> None: ...

class PromoteRequest(_message.Message):
    __slots__ = ("envelope", "request_id", "etag")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    request_id: str
    etag: str
    def __init__(self, envelope: _Optional[bytes] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class PromoteResponse(_message.Message):
    __slots__ = ("pointer",)
    POINTER_FIELD_NUMBER: _ClassVar[int]
    pointer: Pointer
    def __init__(self, pointer: _Optional[_Union[Pointer, _Mapping]] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("envelope", "request_id", "etag")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    request_id: str
    etag: str
    def __init__(self, envelope: _Optional[bytes] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class RollbackResponse(_message.Message):
    __slots__ = ("pointer",)
    POINTER_FIELD_NUMBER: _ClassVar[int]
    pointer: Pointer
    def __init__(self, pointer: _Optional[_Union[Pointer, _Mapping]] = ...) -> None: ...

class RevokeVersionRequest(_message.Message):
    __slots__ = ("envelope", "request_id", "etag")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    request_id: str
    etag: str
    def __init__(self, envelope: _Optional[bytes] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class RevokeVersionResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: Version
    def __init__(self, version: _Optional[_Union[Version, _Mapping]] = ...) -> None: ...

class GetPointerRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetPointerResponse(_message.Message):
    __slots__ = ("pointer",)
    POINTER_FIELD_NUMBER: _ClassVar[int]
    pointer: Pointer
    def __init__(self, pointer: _Optional[_Union[Pointer, _Mapping]] = ...) -> None: ...

class ListPointersRequest(_message.Message):
    __slots__ = ("name", "page_size", "page_token", "filter")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    page_size: int
    page_token: str
    filter: str
    def __init__(self, name: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListPointersResponse(_message.Message):
    __slots__ = ("pointers", "next_page_token")
    POINTERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pointers: _containers.RepeatedCompositeFieldContainer[Pointer]
    next_page_token: str
    def __init__(self, pointers: _Optional[_Iterable[_Union[Pointer, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("index", "kind", "time", "principal", "subject", "model", "version", "proposal", "pointer", "policy", "leaf_hash")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    POINTER_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    LEAF_HASH_FIELD_NUMBER: _ClassVar[int]
    index: int
    kind: ChangeKind
    time: str
    principal: str
    subject: str
    model: Model
    version: Version
    proposal: Proposal
    pointer: Pointer
    policy: bytes
    leaf_hash: bytes
    def __init__(self, index: _Optional[int] = ..., kind: _Optional[_Union[ChangeKind, str]] = ..., time: _Optional[str] = ..., principal: _Optional[str] = ..., subject: _Optional[str] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., version: _Optional[_Union[Version, _Mapping]] = ..., proposal: _Optional[_Union[Proposal, _Mapping]] = ..., pointer: _Optional[_Union[Pointer, _Mapping]] = ..., policy: _Optional[bytes] = ..., leaf_hash: _Optional[bytes] = ...) -> None: ...

class WatchChangesRequest(_message.Message):
    __slots__ = ("model", "kinds", "start")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    model: str
    kinds: _containers.RepeatedScalarFieldContainer[ChangeKind]
    start: int
    def __init__(self, model: _Optional[str] = ..., kinds: _Optional[_Iterable[_Union[ChangeKind, str]]] = ..., start: _Optional[int] = ...) -> None: ...

class WatchChangesResponse(_message.Message):
    __slots__ = ("next", "change")
    NEXT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    next: int
    change: Change
    def __init__(self, next: _Optional[int] = ..., change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...
