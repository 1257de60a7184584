"""Auditors' reads over the wire: each is recorded, and what is forged or withheld is found out."""

import json
from datetime import UTC, datetime

import grpc
import pytest

from gateway.auth.method_rules import AUDIT_READS, RULES
from sealgate.audit import radius_of_key
from sealgate.audit.entries import live_pointers
from sealgate.audit.reader import AuditReader
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.times import format_time
from sealgate.v1 import audit_pb2, log_pb2
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from tests.support.harness.gateway import now, question, refusal, rows

ROLE = frozenset({"auditor"})


@pytest.fixture
def reader(harness):
    return AuditReader(harness.channel("auditor"), harness.governance("auditor").policy(), now)


@pytest.fixture
def audit(harness):
    return AuditServiceStub(harness.channel("auditor"))


@pytest.fixture
def origin(harness):
    (origin,) = (name.partition("+")[0] for name in policy(harness).answer_logs)
    return origin


def policy(harness):
    return harness.governance("auditor").policy()


class Liar:
    """A stub that alters what the gateway says before the reader sees it."""

    def __init__(self, stub, alter):
        self._stub = stub
        self._alter = alter

    def __getattr__(self, name):
        method = getattr(self._stub, name)

        def call(request):
            answer = method(request)
            if isinstance(answer, grpc.Call) and hasattr(answer, "__next__"):
                return self._altered(answer)
            self._alter(answer)
            return answer

        return call

    def _altered(self, stream):
        for message in stream:
            self._alter(message)
            yield message


def lied_to(reader, alter):
    reader.audit = Liar(reader.audit, alter)
    return reader


def drop_event(event):
    def alter(answer):
        kept = [e for e in answer.entries if json.loads(e.leaf)["event"] != event]
        del answer.entries[:]
        answer.entries.extend(kept)

    return alter


def forge_version(answer):
    for entry in answer.entries:
        entry.leaf = entry.leaf.replace(b'"version":1', b'"version":2')


def reads(harness, reader, origin, method):
    size = reader.size(origin)
    found = [o.fields for o in reader.openings(origin, 0, size, ("read",)) if o.fields]
    return [f for f in found if f["method"].endswith(f"/{method}") and f["outcome"] == "read"]


def test_what_only_auditors_may_read_is_what_is_recorded():
    services = ("/sealgate.v1.LogService/", "/sealgate.v1.AuditService/")
    theirs = {path for path, roles in RULES.items() if roles == ROLE and path.startswith(services)}
    assert theirs == AUDIT_READS
    assert len(AUDIT_READS) >= 8


def test_what_was_live(harness, reader):
    moment = format_time(datetime.now(UTC))
    (live,) = live_pointers(reader.live_at(moment, "digits"), moment, "digits")
    assert (live.version, live.alias) == (1, "production")


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (drop_event("pointer.moved"), Reason.LOG_INCONSISTENT),
        (forge_version, Reason.PROOF_INVALID),
        (lambda answer: answer.ClearField("freshness"), Reason.DOCUMENT_MALFORMED),
        (lambda answer: answer.entries.append(answer.entries[0]), Reason.LOG_INCONSISTENT),
    ],
)
def test_a_gateway_that_lies_about_what_was_live(harness, reader, alter, reason):
    moment = format_time(datetime.now(UTC))
    with pytest.raises(SealgateError) as caught:
        live_pointers(lied_to(reader, alter).live_at(moment), moment)
    assert caught.value.reason is reason


def test_records_are_the_whole_log_with_its_documents(harness, reader):
    entries = list(reader.records())
    assert [entry.index for entry in entries] == list(range(len(entries)))
    versions = [entry for entry in entries if entry.event == "version.registered"]
    assert all(v.document(v.body["manifest"]) for v in versions)


def drop_first(answer):
    del answer.entries[0]


def forge_leaf(answer):
    answer.entries[0].leaf = answer.entries[0].leaf.replace(b"20", b"21", 1)


@pytest.mark.parametrize("alter", [drop_first, forge_leaf])
def test_records_that_are_withheld_or_forged(harness, reader, alter):
    with pytest.raises(SealgateError) as caught:
        list(lied_to(reader, alter).records())
    assert caught.value.reason in (Reason.LOG_INCONSISTENT, Reason.DOCUMENT_MALFORMED)


def test_documents_that_are_withheld(harness, reader):
    def alter(answer):
        for entry in answer.entries:
            del entry.documents[:]

    keyid = next(iter(policy(harness).keys))
    with pytest.raises(SealgateError) as caught:
        radius_of_key(keyid, lied_to(reader, alter).records(), [policy(harness)])
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_every_answer_can_be_opened(harness, reader, origin):
    harness.inference().ModelInfer(question("digits", rows()), timeout=60)
    size = reader.size(origin)
    opened = list(reader.openings(origin, 0, size))
    assert [o.index for o in opened] == list(range(size))
    assert "answered" in {o.fields["outcome"] for o in opened}


def drop_receipt(answer):
    del answer.receipts[0]


def short(answer):
    answer.next = max(0, answer.next - 1)


@pytest.mark.parametrize("alter", [drop_receipt, short])
def test_openings_that_are_withheld(harness, reader, origin, alter):
    size = reader.size(origin)
    with pytest.raises(SealgateError) as caught:
        list(lied_to(reader, alter).openings(origin, 0, size))
    assert caught.value.reason is Reason.LOG_INCONSISTENT


def test_an_opening_that_is_forged(harness, reader, origin):
    def alter(answer):
        answer.receipts[0] = answer.receipts[0].replace(b"/inference.", b"/inferenza.", 1)

    size = reader.size(origin)
    with pytest.raises(SealgateError) as caught:
        list(lied_to(reader, alter).openings(origin, 0, size, ("answered",)))
    assert caught.value.reason is Reason.PROOF_INVALID


def test_a_destroyed_subject_leaves_entries_that_cannot_be_opened(harness, reader, origin):
    asked = question("digits", rows())
    asked.parameters["subject"].string_param = "patient-7"
    harness.inference().ModelInfer(asked, timeout=60)
    index = reader.size(origin) - 1
    harness.gateway.store.subjects.destroy("patient-7")
    (opened,) = reader.openings(origin, index, index + 1)
    assert (opened.index, opened.fields) == (index, None)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetLiveAt", audit_pb2.GetLiveAtRequest(time="2026-11-25T10:00:00Z")),
        ("StreamRecords", audit_pb2.StreamRecordsRequest(start=0, end=2)),
    ],
)
def test_each_read_is_one_entry(harness, audit, reader, origin, method, request_):
    before = reads(harness, reader, origin, method)
    answer = getattr(audit, method)(request_)
    if method.startswith("Stream"):
        assert list(answer)
    after = reads(harness, reader, origin, method)
    assert len(after) == len(before) + 1
    assert after[-1]["principal"] == "auditor"
    assert json.loads(after[-1]["input"])


def test_reads_of_the_logs_themselves_are_entries(harness, reader, origin):
    logs = harness.logs("auditor")
    registry = policy(harness).registry_log.partition("+")[0]
    logs.GetEntry(log_pb2.GetEntryRequest(origin=registry, index=0))
    logs.OpenEntry(log_pb2.OpenEntryRequest(origin=origin, index=0))
    list(logs.StreamEntries(log_pb2.StreamEntriesRequest(origin=registry, start=0, end=3)))
    watching = logs.WatchLog(log_pb2.WatchLogRequest(origin=registry))
    next(watching)
    watching.cancel()
    for method in ("GetEntry", "OpenEntry", "StreamEntries", "WatchLog"):
        (*_, last) = reads(harness, reader, origin, method)
        assert last["principal"] == "auditor", method


def test_what_shows_hashes_alone_is_no_entry(harness, reader, origin):
    size = reader.size(origin)
    harness.logs("client").GetCheckpoint(log_pb2.GetCheckpointRequest(origin=origin))
    assert reader.size(origin) == size


def test_a_read_that_cannot_be_recorded_shows_nothing(harness, audit, monkeypatch):
    def fail(outcome):
        raise SealgateError(Reason.RECORD_FAILED, "the disk is full")

    monkeypatch.setattr(harness.gateway.recorder, "record", fail)
    request = audit_pb2.GetLiveAtRequest(time="2026-11-25T10:00:00Z")
    assert refusal(audit.GetLiveAt, request) is Reason.RECORD_FAILED
    stream = audit.StreamRecords(audit_pb2.StreamRecordsRequest(start=0, end=1))
    assert refusal(next, stream) is Reason.RECORD_FAILED


@pytest.mark.parametrize(
    ("method", "request_", "reason"),
    [
        ("GetLiveAt", audit_pb2.GetLiveAtRequest(time="now"), Reason.DOCUMENT_MALFORMED),
        (
            "GetLiveAt",
            audit_pb2.GetLiveAtRequest(time="2026-11-25T10:00:00Z", model="No"),
            Reason.NAME_MALFORMED,
        ),
        (
            "GetDecision",
            audit_pb2.GetDecisionRequest(model="digits", version_digest="sha256:" + "0" * 64),
            Reason.PARAMETER_MALFORMED,
        ),
        (
            "GetDecision",
            audit_pb2.GetDecisionRequest(
                model="digits", version_digest="sha256:" + "0" * 64, pointer_sequence=1
            ),
            Reason.VERSION_UNKNOWN,
        ),
        (
            "StreamRecords",
            audit_pb2.StreamRecordsRequest(start=0, end=1 << 40),
            Reason.ENTRY_UNKNOWN,
        ),
        (
            "StreamOpenings",
            audit_pb2.StreamOpeningsRequest(origin="no/log"),
            Reason.LOG_UNKNOWN,
        ),
        (
            "StreamOpenings",
            audit_pb2.StreamOpeningsRequest(origin="house/answers", values=[""]),
            Reason.PARAMETER_MALFORMED,
        ),
        (
            "StreamOpenings",
            audit_pb2.StreamOpeningsRequest(origin="house/answers", where={"nonce": "0"}),
            Reason.PARAMETER_MALFORMED,
        ),
    ],
)
def test_what_is_refused(audit, method, request_, reason):
    def call():
        answer = getattr(audit, method)(request_)
        return list(answer) if method.startswith("Stream") else answer

    assert refusal(call) is reason


def test_entries_are_searched_for_by_field(harness, reader, origin):
    # An answer, and a reading of it, for whoever runs this test alone.
    harness.inference().ModelInfer(question("digits", rows()), timeout=60)
    list(reader.openings(origin, 0, 1))
    size = reader.size(origin)
    whole = [one.fields for one in reader.openings(origin, 0, size) if one.fields]
    day = whole[0]["time"][:10]
    for where in ({"outcome": "answered", "model": "digits"}, {"outcome": "read", "day": day}):
        told = [{**fields, "day": fields["time"][:10]} for fields in whole]
        wanted = [fields["time"] for fields in told if where.items() <= fields.items()]
        found = reader.openings(origin, 0, size, where=where)
        assert wanted
        assert [one.fields["time"] for one in found if one.fields] == wanted


def test_entries_that_the_log_does_not_have(audit, origin):
    request = audit_pb2.StreamOpeningsRequest(origin=origin, start=0, end=1 << 40)
    assert refusal(list, audit.StreamOpenings(request)) is Reason.ENTRY_UNKNOWN
