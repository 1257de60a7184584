"""The audit pages: who finds decisions, how they are traced, and what auditors take with them."""

import io
import json
import re
import zipfile

import pytest

from console.reading.gateway import PersonCalls
from sealgate.reasons import Reason
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.v1.audit_pb2 import (
    FlaggedSession,
    ListFlaggedSessionsRequest,
    ListFlaggedSessionsResponse,
)
from sealgate.v1.log_pb2 import GetCheckpointRequest
from tests.support.harness.console import csrf_of, text_of

ORIGIN = "house.localhost/answers"


@pytest.fixture(scope="module")
def auditor(console):
    return console.signed_in("auditor")


def test_people_who_are_no_auditors_see_no_entries_and_are_told_who_does(console):
    browser = console.signed_in("approver-1")
    for path in ("/audit", "/audit?model=digits"):
        answer = browser.get(path)
        assert answer.status_code == 403
        assert "takes the role auditor; yours is approver" in answer.text
        assert 'href="/people/auditor"' in answer.text
        assert '<form method="get"' not in answer.text
    answer = browser.get(f"/audit/entries/0?log={ORIGIN}")
    assert answer.status_code == 403
    assert "ROLE_TOO_LOW" in answer.text


def test_who_lacks_a_role_is_told_which_one_it_takes(console):
    text = console.signed_in("approver-1").get(f"/audit/entries/0?log={ORIGIN}").text
    assert "It takes the role auditor." in text


def test_decisions_are_found_by_caller_and_request(auditor):
    found = text_of(auditor.get("/audit?principal=client&model=digits"))
    assert all(f"request-{number}" in found for number in range(3))
    one = text_of(auditor.get("/audit?request_id=request-1"))
    assert "request-1" in one
    assert "request-2" not in one
    assert f"No decision in {ORIGIN} has all of this" in text_of(
        auditor.get("/audit?principal=nobody")
    )


def entry_of(auditor) -> str:
    page = auditor.get("/audit?request_id=request-1").text
    return re.search(r'href="(/audit/entries/\d+)', page)[1]


def test_each_look_at_an_entry_is_recorded_in_the_readers_name(console, auditor):
    entry = entry_of(auditor)
    logs = console.gateway.logs()

    def size():
        note = logs.GetCheckpoint(GetCheckpointRequest(origin=ORIGIN)).note
        return int(note.splitlines()[1])

    before = size()
    text = text_of(auditor.get(f"{entry}?log={ORIGIN}"))
    assert "Answered to client" in text
    assert size() == before + 1
    found = text_of(auditor.get("/audit?principal=auditor&outcome=read"))
    assert "auditor" in found


def test_a_refusal_says_its_reason_and_what_was_recorded_as_empty(auditor):
    found = auditor.get("/audit?principal=publisher&outcome=MODEL_EXISTS").text
    entry = re.search(r"/audit/entries/\d+", found)[0]
    text = text_of(auditor.get(f"{entry}?log={ORIGIN}"))
    assert "Refused to publisher with MODEL_EXISTS" in text
    assert Reason.MODEL_EXISTS.sentence in text
    assert "Recorded as empty model, version, version digest" in text


def test_a_decision_is_traced_to_bytes_and_approvers(auditor):
    text = text_of(auditor.get(f"{entry_of(auditor)}?log={ORIGIN}&chain=1"))
    for step in ("Receipt", "Version", "Publisher", "Approvals", "Evidence", "Revocation"):
        assert f"{step} holds" in text
    # Whether an anchor covers it already, the clock decides.
    assert "Every step holds" in text or "What can be checked now holds" in text
    assert "does not hold" not in text


def test_the_receipt_is_downloaded_and_verifies_offline(console, auditor):
    answer = auditor.get(f"{entry_of(auditor)}/receipt?log={ORIGIN}")
    assert "attachment" in answer.headers["content-disposition"]
    policy = console.gateway.governance("auditor").policy()
    fields = verify_receipt(Receipt.decode(answer.content), policy).fields
    assert (fields["request_id"], fields["outcome"]) == ("request-1", "answered")
    assert json.loads(answer.content)["type"] == "sealgate/receipt/v2"


def test_an_auditor_is_told_whose_requests_look_like_an_attack(auditor, monkeypatch):
    ask = PersonCalls.ask
    found = ("client", "<digits>", "block")

    def flagged(calls, method, request, *given):
        if isinstance(request, ListFlaggedSessionsRequest):
            principal, model, action = found
            one = FlaggedSession(
                time="2026-12-01T23:45:22Z", principal=principal, model=model, action=action
            )
            return ListFlaggedSessionsResponse(sessions=[one])
        return ask(calls, method, request, *given)

    assert "look like an attack" not in text_of(auditor.get("/"))
    text = text_of(auditor.get("/audit"))
    assert "None since this gateway started" in text
    assert "sealgate receipt verify FILE" in text
    monkeypatch.setattr(PersonCalls, "ask", flagged)
    assert "The latest is client on" in text_of(auditor.get("/"))
    page = auditor.get("/audit")
    assert "client &lt;digits&gt; block 2026-12-01 23:45:22 UTC" in text_of(page)
    assert "principal=client&amp;model=%3Cdigits%3E&amp;day=2026-12-01" in page.text


def test_an_auditor_takes_a_pack(console, auditor):
    token = csrf_of(auditor.get("/audit/pack").text)
    assert "no finished pack" in auditor.get("/audit/pack/file").text
    auditor.post("/audit/pack", data={"csrf": token, "models": "digits"})
    while "progress" in (page := auditor.get("/audit/pack?part=1").text):
        pass
    assert "done" in page, page
    answer = auditor.get("/audit/pack/file")
    assert answer.headers["content-disposition"] == 'attachment; filename="sealgate-pack.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as pack:
        label = json.loads(pack.read("pack/pack.json"))
    assert (label["models"], label["files"]) == (["digits"], False)


def test_nobody_but_an_auditor_takes_a_pack(console):
    browser = console.signed_in("approver-1")
    token = csrf_of(browser.get("/audit/pack").text)
    browser.post("/audit/pack", data={"csrf": token})
    while "progress" in (page := browser.get("/audit/pack?part=1").text):
        pass
    assert "role" in page
    assert "download" not in page.lower()
