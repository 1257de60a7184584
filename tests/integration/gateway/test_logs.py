"""The gateway's log proofs, health service and reflection, over the wire."""

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gateway.services.health import SERVICES
from sealgate.audit import Auditor
from sealgate.reasons import Reason
from sealgate.trust.transparency import merkle
from sealgate.v1 import log_pb2
from tests.support.harness.gateway import question, refusal, rows


@pytest.fixture
def auditor(harness):
    return Auditor(harness.channel("auditor"), harness.governance("auditor").policy())


def test_every_entry_is_proved_to_be_in_its_log(harness, auditor):
    harness.inference().ModelInfer(question("digits", rows()), timeout=60)
    for origin in auditor.origins():
        checkpoint = auditor.checkpoint(origin)
        for index in {0, checkpoint.size - 1}:
            leaf = auditor.logs.GetEntry(log_pb2.GetEntryRequest(origin=origin, index=index)).leaf
            request = log_pb2.GetInclusionProofRequest(
                origin=origin, index=index, size=checkpoint.size
            )
            path = list(auditor.logs.GetInclusionProof(request).hashes)
            hashed = merkle.leaf_hash(leaf)
            merkle.verify_inclusion(hashed, index, checkpoint.size, path, checkpoint.root)


def test_a_log_is_proved_to_have_only_grown(harness, auditor):
    (origin,) = (origin for origin in auditor.origins() if origin.endswith("/answers"))
    harness.inference().ModelInfer(question("digits", rows()), timeout=60)
    old = auditor.checkpoint(origin)
    harness.inference().ModelInfer(question("digits", rows()), timeout=60)
    assert auditor.verify_consistency(origin, old).size > old.size


def test_what_the_logs_do_not_have(auditor):
    logs, (origin, *_) = auditor.logs, auditor.origins()
    size = auditor.checkpoint(origin).size
    for call, request, reason in (
        (logs.GetCheckpoint, log_pb2.GetCheckpointRequest(origin="no/log"), Reason.LOG_UNKNOWN),
        (
            logs.GetEntry,
            log_pb2.GetEntryRequest(origin=origin, index=size + 1000),
            Reason.ENTRY_UNKNOWN,
        ),
        (
            logs.GetInclusionProof,
            log_pb2.GetInclusionProofRequest(origin=origin, index=0, size=size + 1000),
            Reason.ENTRY_UNKNOWN,
        ),
        (
            logs.GetConsistencyProof,
            log_pb2.GetConsistencyProofRequest(origin=origin, old_size=2, new_size=1),
            Reason.ENTRY_UNKNOWN,
        ),
    ):
        assert refusal(call, request, timeout=60) is reason, request


def test_health_says_that_it_serves(harness):
    stub = health_pb2_grpc.HealthStub(harness.channel("client"))
    for service in ("", "inference.GRPCInferenceService", "sealgate.v1.LogService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_every_service(harness):
    stub = reflection_pb2_grpc.ServerReflectionStub(harness.channel("client"))
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=60)
    listed = {service.name for service in answer.list_services_response.service}
    assert listed == {service.full_name for service in SERVICES}
