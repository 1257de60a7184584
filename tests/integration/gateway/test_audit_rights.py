"""Opening audit entries takes the right to read all models, and who read stays known."""

import json

from sealgate.reasons import Reason
from sealgate.v1 import audit_pb2, log_pb2
from sealgate.v1 import log_pb2 as messages
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows, running
from tests.support.harness.policy_changes import accept

READ_IRIS = {
    "principals": [],
    "roles": ["auditor"],
    "actions": ["read"],
    "models": ["iris"],
    "aliases": ["*"],
}


def test_opening_an_entry_takes_the_right_to_read_all_models(tmp_path):
    with running(tmp_path / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        harness.inference().ModelInfer(question("digits", rows()), timeout=60)
        origin = harness.gateway.store.answers.origin
        index = harness.gateway.recorder.size - 1
        one = log_pb2.OpenEntryRequest(origin=origin, index=index)
        assert b"digits" in harness.logs().OpenEntry(one, timeout=60).receipt
        accept(harness, rights=[READ_IRIS])
        all_of_them = audit_pb2.StreamOpeningsRequest(origin=origin, start=index, end=index + 1)
        stream = AuditServiceStub(harness.channel("auditor")).StreamOpenings
        assert refusal(lambda: list(stream(all_of_them, timeout=60))) is Reason.RIGHT_MISSING
        assert refusal(harness.logs().OpenEntry, one, timeout=60) is Reason.RIGHT_MISSING
        accept(harness, rights=[{**READ_IRIS, "models": ["*"]}])
        assert b"digits" in harness.logs().OpenEntry(one, timeout=60).receipt


def readers(harness: GatewayHarness) -> list[str]:
    told = harness.command("audit", "readers", "--by", "auditor", "--json")
    assert told.exit_code == 0, told.output
    return [row["method"] for row in json.loads(told.stdout)]


def test_erasing_a_reader_keeps_the_record_of_reads(tmp_path):
    with running(tmp_path / "state") as harness:
        registry = harness.gateway.store.registry.log.origin
        harness.logs().GetEntry(messages.GetEntryRequest(origin=registry, index=0), timeout=60)
        before = readers(harness)
        assert "GetEntry" in before
        erased = harness.command("subject", "erase", "auditor", "--yes")
        assert erased.exit_code == 0, erased.output
        assert readers(harness)[: len(before)] == before
