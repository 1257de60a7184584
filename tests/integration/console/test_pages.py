"""What each page shows to whom."""

import json
import re

import pytest

from console.app import server
from console.connections import TimedConnection
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.v1.log_pb2 import GetCheckpointRequest

ORIGIN = "house.localhost/answers"
_LARGEST = 100_000


@pytest.fixture(scope="module")
def auditor(console):
    return console.signed_in("auditor")


def text_of(answer) -> str:
    assert answer.status_code == 200, answer.text
    assert len(answer.content) < _LARGEST
    assert "style=" not in answer.text
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text)).replace("&nbsp;", " ")
    return re.sub(r" ([,.:;])", r"\1", words)


def test_the_overview_shows_what_is_live_and_its_health(auditor):
    text = text_of(auditor.get("/"))
    assert "digits version 1 ready promoted by admin" in text
    assert f"{ORIGIN}" in text
    assert "Policy, version 1" in text


def test_a_proposal_waits_for_whoever_can_do_the_next_step(console, proposal):
    waiting = {
        person: f"/proposals/{proposal}" in console.signed_in(person).get("/").text
        for person in ("approver-1", "approver-2", "admin", "auditor")
    }
    assert waiting == {"approver-1": False, "approver-2": True, "admin": False, "auditor": False}


def test_a_model_shows_its_versions_aliases_and_traffic(auditor):
    text = text_of(auditor.get("/models/digits"))
    assert text.index("Version 2 2026") < text.index("Version 1 production")
    assert "Promoted by admin" in text
    assert "Version 2 for production waits for 1 more approval" in text
    page = auditor.get("/models/digits").text
    assert 'aria-label="Requests. Version 1: 3 answered, 0 failed"' in page
    assert 'aria-label="What screening found. Version 1: 3 clean' in page


def test_older_versions_are_on_pages_of_their_own(auditor):
    text = text_of(auditor.get("/models/digits?from=1"))
    assert "Version 1" in text
    assert "Published" not in text
    assert ">Newest<" in auditor.get("/models/digits?from=1").text


def test_a_version_shows_evidence_and_its_difference_to_production(auditor):
    text = text_of(auditor.get("/models/digits/versions/2"))
    assert "Difference to version 1, which is in production" in text
    assert "model.int8.onnx" in text
    for title in ("Screening", "INT8 against float32", "Watermark", "Bill of materials"):
        assert title in text
    assert "{" not in text
    assert "Difference" not in text_of(auditor.get("/models/digits/versions/1"))


def test_the_moves_of_an_alias_say_who_and_why(auditor):
    text = text_of(auditor.get("/models/digits/aliases/production"))
    assert "version 1 promoted admin" in text
    assert "test" in text


def test_a_proposal_shows_what_it_changes_and_who_approved(auditor, proposal):
    text = text_of(auditor.get(f"/proposals/{proposal}"))
    assert "Production of digits moves from version 1 to version 2" in text
    assert "Approvals: 1 of 2" in text
    assert "approver-1 approved “reads better”" in text
    assert proposal in text
    assert "digits 2 for production" in text_of(auditor.get("/proposals?model=digits"))


def test_a_rejected_proposal_says_by_whom_and_why_and_waits_for_nobody(console):
    gateway = console.gateway
    digest = gateway.propose("digits", 2, "shadow").digest
    gateway.governance("approver-1").comment(digest, "see the border attack")
    gateway.governance("approver-2").reject(digest, "screening got worse")
    browser = console.signed_in("approver-1")
    text = text_of(browser.get(f"/proposals/{digest}"))
    assert "approver-2 rejected “screening got worse”" in text
    assert "approver-1 commented “see the border attack”" in text
    assert "model approve" not in text
    assert digest in browser.get("/proposals?state=rejected").text
    assert digest not in browser.get("/proposals").text
    assert digest not in browser.get("/").text


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/models/nothing", 404, "MODEL_UNKNOWN"),
        ("/models/digits/versions/99", 404, "VERSION_UNKNOWN"),
        ("/models/Bad%20Name", 400, "NAME_MALFORMED"),
        ("/proposals/sha256:" + "0" * 64, 404, "PROPOSAL_UNKNOWN"),
        ("/people/nobody", 401, "PRINCIPAL_UNKNOWN"),
        (f"/audit/entries/99999?log={ORIGIN}", 404, "ENTRY_UNKNOWN"),
        ("/audit/entries/1?log=elsewhere", 404, "LOG_UNKNOWN"),
        ("/audit?day=tomorrow", 400, "PARAMETER_MALFORMED"),
    ],
)
def test_what_is_not_there_is_told_with_its_reason(console, path, status, reason):
    answer = console.signed_in("auditor").get(path)
    assert reason in answer.text
    assert answer.status_code == status


def test_people_who_are_no_auditors_see_no_entries(console):
    browser = console.signed_in("approver-1")
    for path in ("/audit?model=digits", f"/audit/entries/0?log={ORIGIN}"):
        answer = browser.get(path)
        assert answer.status_code == 403
        assert "ROLE_TOO_LOW" in answer.text


def test_decisions_are_found_by_caller_and_request(auditor):
    found = text_of(auditor.get("/audit?principal=client&model=digits"))
    assert all(f"request-{number}" in found for number in range(3))
    one = text_of(auditor.get("/audit?request_id=request-1"))
    assert "request-1" in one
    assert "request-2" not in one
    assert "Nothing was found" in text_of(auditor.get("/audit?principal=nobody"))


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


def test_a_decision_is_traced_to_bytes_and_approvers(auditor):
    text = text_of(auditor.get(f"{entry_of(auditor)}?log={ORIGIN}&chain=1"))
    for step in ("Receipt", "Version", "Publisher", "Approvals", "Evidence", "Revocation"):
        assert f"{step} holds" in text
    assert "does not hold" not in text


def test_the_receipt_is_downloaded_and_verifies_offline(console, auditor):
    answer = auditor.get(f"{entry_of(auditor)}/receipt?log={ORIGIN}")
    assert "attachment" in answer.headers["content-disposition"]
    policy = console.gateway.governance("auditor").policy()
    fields = verify_receipt(Receipt.decode(answer.content), policy).fields
    assert (fields["request_id"], fields["outcome"]) == ("request-1", "answered")
    assert json.loads(answer.content)["type"] == "sealgate/receipt/v2"


def test_a_right_is_explained(auditor):
    text = text_of(auditor.get("/people/admin?action=approve&model=digits"))
    assert "no approve needs approver, not admin" in text
    assert "mtls:admin" in text_of(auditor.get("/people"))


def test_what_others_wrote_is_escaped(console):
    gateway = console.gateway
    proposal = gateway.propose("digits", 2, "canary")
    gateway.governance("approver-1").approve(proposal.digest, "<script>alert(1)</script>")
    page = console.signed_in("auditor").get(f"/proposals/{proposal.digest}").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_console_is_served_to_those_who_ask_in_time(console):
    config = server(console.config).config
    assert config.http is TimedConnection
    assert config.ws == "none"
