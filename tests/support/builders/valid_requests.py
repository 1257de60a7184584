"""Requests that are valid on each gRPC listener: a path, and the bytes of its message."""

from inference.server.load_request import LoadRequest
from inference.server.services import write_load
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Manifest, PointerBundle
from sealgate.v1 import audit_pb2, credential_pb2, engine_pb2, log_pb2, registry_pb2
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from tests.support.harness.gateway import GatewayHarness, question, rows

Asked = tuple[str, bytes]
_INFERENCE = "/inference.GRPCInferenceService"
_REGISTRY, _LOGS = "/sealgate.v1.RegistryService", "/sealgate.v1.LogService"


def inference(harness: GatewayHarness) -> list[Asked]:
    whole = question("digits", rows(count=2), receipt=True)
    whole.id, whole.model_version = "case-7", "1"
    whole.parameters["sealgate_subject"].string_param = "patient-7"
    typed = oip.ModelInferRequest(model_name="digits")
    values = typed.inputs.add(name="x", datatype="FP32", shape=[1, 64])
    values.contents.fp32_contents.extend(map(float, rows()[0]))
    typed.outputs.add(name="logits")
    return [
        (f"{_INFERENCE}/ModelInfer", whole.SerializeToString()),
        (f"{_INFERENCE}/ModelInfer", typed.SerializeToString()),
        (f"{_INFERENCE}/ModelMetadata", _bytes(oip.ModelMetadataRequest(name="digits"))),
        (f"{_INFERENCE}/ModelReady", _bytes(oip.ModelReadyRequest(name="digits", version="1"))),
    ]


def governance(harness: GatewayHarness) -> dict[str, list[Asked]]:
    """By person: what people of the registry and of audits ask."""
    version = "models/digits/versions/1"
    alias = "models/digits/aliases/production"
    answers, request_id = "house.localhost/answers", "8a4b3c5d-1c1e-4f6e-9c0b-6f1f4f0a2b11"
    proposal = harness.propose("digits", 1)
    signed = registry_pb2.CreateApprovalRequest(envelope=proposal.envelope, request_id=request_id)
    messages = registry_pb2
    return {
        "auditor": [
            (f"{_REGISTRY}/GetVersion", _bytes(messages.GetVersionRequest(name=version))),
            (
                f"{_REGISTRY}/ListVersions",
                _bytes(messages.ListVersionsRequest(model="digits", filter="publisher = p OR a:*")),
            ),
            (
                f"{_REGISTRY}/ListPointers",
                _bytes(messages.ListPointersRequest(name=alias, page_size=3, filter="action = x")),
            ),
            (f"{_LOGS}/GetEntry", _bytes(log_pb2.GetEntryRequest(origin=answers, index=3))),
            (
                f"{_LOGS}/GetInclusionProof",
                _bytes(log_pb2.GetInclusionProofRequest(origin=answers, index=2, size=5)),
            ),
            (
                f"{_LOGS}/GetConsistencyProof",
                _bytes(log_pb2.GetConsistencyProofRequest(origin=answers, old_size=2, new_size=5)),
            ),
            (
                f"{_LOGS}/GetCoseReceipt",
                _bytes(log_pb2.GetCoseReceiptRequest(origin=answers, index=1)),
            ),
            (
                f"{_LOGS}/StreamTimestamps",
                _bytes(log_pb2.StreamTimestampsRequest(origin=answers)),
            ),
            (
                f"{_LOGS}/GetTransparentStatement",
                _bytes(log_pb2.GetTransparentStatementRequest(origin=answers, index=1)),
            ),
            (f"{_LOGS}/OpenEntry", _bytes(log_pb2.OpenEntryRequest(origin=answers, index=1))),
            (
                "/sealgate.v1.AuditService/GetLiveAt",
                _bytes(audit_pb2.GetLiveAtRequest(time="2026-11-25T10:00:00Z", model="digits")),
            ),
        ],
        "publisher": [
            (
                f"{_REGISTRY}/CreateModel",
                _bytes(messages.CreateModelRequest(model="letters", request_id=request_id)),
            ),
            (
                f"{_REGISTRY}/CreateProposal",
                _bytes(messages.CreateProposalRequest(envelope=proposal.envelope)),
            ),
        ],
        "approver-1": [
            (f"{_REGISTRY}/CreateApproval", _bytes(signed)),
            *(
                (f"{_REGISTRY}/{method}", _bytes(kind(envelope=proposal.envelope)))
                for method, kind in (
                    ("CreateRejection", messages.CreateRejectionRequest),
                    ("CreateComment", messages.CreateCommentRequest),
                )
            ),
        ],
        "admin": [
            (f"{_REGISTRY}/Promote", _bytes(messages.PromoteRequest(envelope=proposal.envelope))),
            (
                "/sealgate.v1.CredentialService/CreateApiKey",
                _bytes(
                    credential_pb2.CreateApiKeyRequest(
                        holder="client", label="x", expire_time="2027-01-01T00:00:00Z"
                    )
                ),
            ),
        ],
    }


def shown(harness: GatewayHarness) -> list[Asked]:
    """A gateway's requests to an engine: to follow a pointer, and to answer."""
    registry, audits = harness.registry("auditor"), AuditServiceStub(harness.channel("auditor"))
    alias = registry_pb2.GetPointerRequest(name="models/digits/aliases/production")
    pointer = registry.GetPointer(alias).pointer
    version = registry.GetVersion(
        registry_pb2.GetVersionRequest(name="models/digits/versions/1")
    ).version
    decision = audits.GetDecision(
        audit_pb2.GetDecisionRequest(
            model="digits", version_digest=version.digest, pointer_sequence=pointer.sequence
        )
    )
    load = LoadRequest(
        place=("digits", "production"),
        policies=tuple(
            map(Envelope.decode, registry.GetPolicy(registry_pb2.GetPolicyRequest()).envelopes)
        ),
        freshness=Envelope.decode(decision.freshness),
        pointer=PointerBundle.decode(pointer.bundle),
        manifest=Manifest.decode(version.manifest),
        signature=version.signature,
    )
    infer = question("digits", rows(count=2))
    infer.model_version = "1"
    infer.parameters["digest"].string_param = version.digest
    costs = engine_pb2.GetCostsRequest(model="digits", version="1", digest=version.digest)
    return [
        (f"{_INFERENCE}/RepositoryModelLoad", write_load(load).SerializeToString()),
        (f"{_INFERENCE}/ModelInfer", infer.SerializeToString()),
        ("/sealgate.v1.EngineService/GetCosts", _bytes(costs)),
    ]


def _bytes(message) -> bytes:
    return message.SerializeToString()
