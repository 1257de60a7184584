"""Changes happen once, though the connection breaks before their answer comes."""

import json
import threading
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain

import grpc
import pytest

from sealgate.private_keys import open_signer
from sealgate.promotion.documents import Governance
from sealgate.reasons import Reason
from sealgate.remote import connect
from sealgate.remote.calls import repeat, send
from sealgate.trust.canonical import sha256
from sealgate.trust.policy import EvidenceRules
from sealgate.trust.receipts.answer_entry import is_pseudonym
from sealgate.trust.statements import Evidence, Manifest, sign_statement
from sealgate.trust.times import format_time
from sealgate.v1.credential_pb2 import CreateApiKeyRequest, ListApiKeysRequest
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from sealgate.v1.log_pb2 import EraseSubjectRequest
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.policy_pb2 import AcceptPolicyRequest
from sealgate.v1.policy_pb2_grpc import PolicyServiceStub
from sealgate.v1.registry_pb2 import (
    CommitWatermarkRequest,
    CreateModelRequest,
    DownloadFileRequest,
    GetPointerRequest,
    GetPolicyRequest,
    GetVersionRequest,
    RevokeVersionRequest,
    UploadVersionRequest,
)
from tests.support.harness.gateway import now, refusal
from tests.support.harness.network.relay import relay_to

POINTER = GetPointerRequest(name="models/digits/aliases/production")


@pytest.fixture
def cut_off(harness):
    """Makes a change over a connection that is cut once the gateway has written it.

    Returns what the change returned in the end, and how many entries of that person it left in
    the log: the gateway writes there by itself as well, what it has refused, say.
    """

    def run(person, change):
        profile = harness.profile(person)
        log = harness.gateway.store.registry.log

        def made():
            leaves = chain.from_iterable(log.entries(before, log.size()))
            return sum(json.loads(leaf)["principal"] == person for leaf in leaves)

        with relay_to(profile.endpoint) as relay:
            through = replace(profile, endpoint=f"localhost:{relay.port}")
            with connect(through) as channel:
                governance = Governance(channel, through, now)
                governance.policy()
                before, found = log.size(), []
                prepared = change(channel, governance)
                relay.silent = True
                thread = threading.Thread(target=lambda: found.append(prepared()))
                thread.start()
                deadline = time.monotonic() + 60
                while not made() and time.monotonic() < deadline:
                    time.sleep(0.005)
                relay.cut()
                thread.join(60)
                return found[0], made()

    return run


def test_a_model_is_created_once(cut_off):
    def change(channel, governance):
        request = CreateModelRequest(model="cut-off")
        return lambda: send(governance.registry.CreateModel, request)

    answer, entries = cut_off("publisher", change)
    assert (answer.model.name, entries) == ("models/cut-off", 1)


def test_a_rollback_moves_the_alias_once(harness, cut_off):
    harness.promote("digits", 2)
    reader = harness.registry("admin")
    before = reader.GetPointer(POINTER).pointer

    def change(channel, governance):
        # Only the change itself goes over the connection that is cut.
        away = harness.governance("admin")
        away.registry.Rollback = governance.registry.Rollback
        return lambda: away.rollback("digits", "production", 1, "cut off")

    pointer, entries = cut_off("admin", change)
    assert (pointer.sequence, entries) == (before.sequence + 1, 1)
    assert reader.GetPointer(POINTER).pointer == pointer
    harness.await_version("digits", 1)


def test_a_keys_secret_is_not_shown_twice(harness, cut_off):
    def change(channel, governance):
        expires = format_time(datetime.now(UTC) + timedelta(hours=1))
        request = CreateApiKeyRequest(holder="client", label="cut off", expire_time=expires)
        return lambda: send(CredentialServiceStub(channel).CreateApiKey, request)

    answer, entries = cut_off("admin", change)
    assert (answer.secret, answer.api_key.label, entries) == ("", "cut off", 1)
    keys = CredentialServiceStub(harness.channel("admin"))
    listed = keys.ListApiKeys(ListApiKeysRequest(filter='label = "cut off"')).api_keys
    assert list(listed) == [answer.api_key]


def test_an_erasure_is_told_once(harness, cut_off):
    origin = harness.gateway.store.answers.origin

    def change(channel, governance):
        request = EraseSubjectRequest(origin=origin, subject="patient-4711")
        return lambda: send(LogServiceStub(channel).EraseSubject, request)

    answer, entries = cut_off("admin", change)
    assert entries == 1
    assert is_pseudonym(answer.pseudonym, "patient-4711")


def test_a_report_is_attached_once(harness, cut_off):
    seen = (
        harness.registry("admin")
        .GetVersion(GetVersionRequest(name="models/digits/versions/1"))
        .version
    )
    report = Evidence(
        EvidenceRules.RED_TEAM, seen.digest, "approver-1", format_time(now()), {"attacks": {}}
    )
    key = open_signer(harness.profile("approver-1").signing_key)
    envelope = sign_statement(report, key).encode()

    def change(channel, governance):
        return lambda: governance.attach("digits", 1, envelope)

    version, entries = cut_off("approver-1", change)
    assert (list(version.attached), entries) == ([envelope], 1)


def test_an_upload_that_is_repeated_is_not_sent_again(harness):
    registry, name = harness.registry("publisher"), "models/digits/versions/1"
    version = registry.GetVersion(GetVersionRequest(name=name)).version
    registry.CreateModel(CreateModelRequest(model="once-up"))
    commitment = sha256(b"a key")
    registry.CommitWatermark(CommitWatermarkRequest(model="once-up", commitment=commitment))
    header = UploadVersionRequest.Header(
        model="once-up",
        manifest=version.manifest,
        signature=version.signature,
        evidence=version.evidence,
        commitment=commitment,
        request_id=str(uuid.uuid4()),
    )
    parts = [UploadVersionRequest(header=header)]
    for entry in Manifest.decode(version.manifest).files:
        request = DownloadFileRequest(name=name, path=entry.path)
        parts.append(UploadVersionRequest(file=entry.path))
        parts += [UploadVersionRequest(chunk=p.chunk) for p in registry.DownloadFile(request)]
    first = registry.UploadVersion(iter(parts))
    assert registry.UploadVersion(iter(parts[:1])) == first
    header.commitment = sha256(b"another key")
    again = iter([UploadVersionRequest(header=header)])
    assert refusal(registry.UploadVersion, again) is Reason.REQUEST_ID_REUSED


def test_an_id_that_stands_for_another_request(harness):
    registry, request_id = harness.registry("publisher"), str(uuid.uuid4())
    first = CreateModelRequest(model="once-a", request_id=request_id)
    assert registry.CreateModel(first) == registry.CreateModel(first)
    other = CreateModelRequest(model="once-b", request_id=request_id)
    assert refusal(registry.CreateModel, other) is Reason.REQUEST_ID_REUSED
    malformed = CreateModelRequest(model="once-b", request_id="1")
    assert refusal(registry.CreateModel, malformed) is Reason.PARAMETER_MALFORMED
    again = CreateModelRequest(model="once-a")
    assert refusal(registry.CreateModel, again) is Reason.MODEL_EXISTS


def test_an_etag_is_that_of_what_was_seen(harness):
    harness.promote("digits", 2)
    admin = harness.governance("admin")
    seen = harness.registry("admin").GetPointer(POINTER).pointer
    assert admin.rollback("digits", "production", 1, "first").etag != seen.etag
    stub = admin.registry.Rollback

    def with_the_old_etag(request):
        request.etag = seen.etag
        return stub(request)

    admin.registry.Rollback = with_the_old_etag
    assert refusal(admin.rollback, "digits", "production", 1, "late") is Reason.ETAG_STALE
    harness.await_version("digits", 1)


def test_a_revocation_of_another_state(harness):
    admin, name = harness.governance("admin"), "models/digits/versions/2"
    stub, sent = admin.registry.RevokeVersion, []

    def with_another_etag(request):
        sent.append(request.etag)
        altered = RevokeVersionRequest()
        altered.CopyFrom(request)
        altered.etag = '"another"'
        return stub(altered)

    admin.registry.RevokeVersion = with_another_etag
    assert refusal(admin.revoke, "digits", 2, "late") is Reason.ETAG_STALE
    version = harness.registry("admin").GetVersion(GetVersionRequest(name=name)).version
    assert sent == [version.etag]
    assert version.revocation_reason == ""


def test_a_policy_beside_another_chain(harness):
    chain = harness.registry("admin").GetPolicy(GetPolicyRequest())
    service = PolicyServiceStub(harness.channel("admin"))
    request = AcceptPolicyRequest(envelope=chain.envelopes[-1], etag='"0"')
    assert refusal(service.AcceptPolicy, request) is Reason.ETAG_STALE
    request.etag = chain.etag
    # Now it is the policy that is at fault: it does not follow itself.
    assert refusal(service.AcceptPolicy, request) is not Reason.ETAG_STALE


class Failure(grpc.RpcError, grpc.Call):
    def __init__(self, code):
        self._code = code

    def code(self):
        return self._code

    def details(self):
        return ""

    def trailing_metadata(self):
        return ()


Failure.__abstractmethods__ = frozenset()


@pytest.mark.parametrize(
    ("code", "attempts"),
    [(grpc.StatusCode.UNAVAILABLE, 5), (grpc.StatusCode.INTERNAL, 1), (grpc.StatusCode.ABORTED, 1)],
)
def test_attempts_are_few_and_for_those_that_were_not_answered(code, attempts):
    made, pauses = [], []

    def attempt():
        made.append(code)
        raise Failure(code)

    with pytest.raises(Failure):
        repeat(attempt, sleep=pauses.append, chance=lambda: 0.5)
    assert len(made) == attempts == len(pauses) + 1
    assert pauses == [0.125, 0.25, 0.5, 1.0][: attempts - 1]
