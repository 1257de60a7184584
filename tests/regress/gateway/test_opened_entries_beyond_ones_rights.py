"""An auditor whose rights covered one model opened the answers of every other, one by one.

`StreamOpenings` asked for the right to read all models; `OpenEntry`, which shows the same, asked
for the role alone.
"""

from sealgate.reasons import Reason
from sealgate.v1 import audit_pb2, log_pb2
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from tests.support.house import question, refusal, rows, running
from tests.support.succession import accept

READ_IRIS = {
    "principals": [],
    "roles": ["auditor"],
    "actions": ["read"],
    "models": ["iris"],
    "aliases": ["*"],
}


def test_an_entry_is_opened_for_who_may_read_all(tmp_path):
    with running(tmp_path / "state", "digits-1") as house:
        house.promote("digits", 1)
        house.inference().ModelInfer(question("digits", rows()), timeout=60)
        origin = house.gateway._store.answers.origin
        index = house.gateway.recorder.size - 1
        one = log_pb2.OpenEntryRequest(origin=origin, index=index)
        assert b"digits" in house.logs().OpenEntry(one, timeout=60).receipt
        accept(house, rights=[READ_IRIS])
        all_of_them = audit_pb2.StreamOpeningsRequest(origin=origin, start=index, end=index + 1)
        stream = AuditServiceStub(house.channel("auditor")).StreamOpenings
        assert refusal(lambda: list(stream(all_of_them, timeout=60))) is Reason.RIGHT_MISSING
        assert refusal(house.logs().OpenEntry, one, timeout=60) is Reason.RIGHT_MISSING
        accept(house, rights=[{**READ_IRIS, "models": ["*"]}])
        assert b"digits" in house.logs().OpenEntry(one, timeout=60).receipt
