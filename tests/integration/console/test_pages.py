"""The console's pages, and who sees which part of them."""

import html
import json
import re

import pytest

from console.app import server
from console.pages import reach
from sealgate.network.timed_connection import TimedConnection, TimedLoop
from sealgate.v1.log_pb2 import GetCheckpointRequest
from tests.support.harness.console import text_of

ORIGIN = "house.localhost/answers"


@pytest.fixture(scope="module")
def auditor(console):
    return console.signed_in("auditor")


def answers(gateway) -> int:
    """The size of the answer log."""
    note = gateway.logs("auditor").GetCheckpoint(GetCheckpointRequest(origin=ORIGIN)).note
    return int(note.splitlines()[1])


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


@pytest.mark.parametrize("digits", [16, 5000])
def test_a_number_of_many_digits_leads_to_no_page(console, auditor, digits):
    """Such a one fits into no message, and Python reads none of more than 4,300 digits."""
    for path in ("/audit/entries/", "/models/digits/versions/"):
        for browser in (console.visitor(), auditor):
            assert browser.get(f"{path}{'9' * digits}?log={ORIGIN}").status_code == 404


def test_a_page_of_nobody_ends_no_session(console):
    reader = console.signed_in("auditor")
    assert reader.get("/people/nobody").status_code == 404
    assert reader.get("/people/client").status_code == 200


def test_looking_at_a_model_leaves_no_refusal_in_the_answer_log(gateway, console):
    """No page asks where an alias points that has never pointed at a version."""
    auditor = console.signed_in("auditor")
    auditor.get("/")
    before = answers(gateway)
    for page in ("/", "/models/digits", "/models/digits/versions/2"):
        assert auditor.get(page).status_code == 200
    assert answers(gateway) == before


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
    text = text_of(browser.get("/proposals?state=rejected"))
    assert "digits 2 for shadow nobody “screening got worse” by approver-2" in text
    assert digest in browser.get("/proposals?state=rejected").text
    assert digest not in browser.get("/proposals?state=elsewhere").text
    assert digest not in browser.get("/proposals").text
    assert digest not in browser.get("/").text


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/models/nothing", 404, "MODEL_UNKNOWN"),
        ("/models/digits/versions/99", 404, "VERSION_UNKNOWN"),
        ("/models/Bad%20Name", 400, "NAME_MALFORMED"),
        ("/proposals/sha256:" + "0" * 64, 404, "PROPOSAL_UNKNOWN"),
        ("/people/nobody", 404, "PRINCIPAL_UNKNOWN"),
        (f"/audit/entries/99999?log={ORIGIN}", 404, "ENTRY_UNKNOWN"),
        ("/audit/entries/1?log=elsewhere", 404, "LOG_UNKNOWN"),
        ("/audit?day=tomorrow", 400, "PARAMETER_MALFORMED"),
    ],
)
def test_what_is_not_there_is_told_with_its_reason(console, path, status, reason):
    answer = console.signed_in("auditor").get(path)
    assert reason in answer.text
    assert answer.status_code == status
    # Only a visitor who is not signed in is sent to sign in.
    assert ("/sign-in" in answer.text) is (status == 401)


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
    config = server(console.config, console.app).config
    assert config.http is TimedConnection
    assert config.get_loop_factory() is TimedLoop
    assert config.ws == "none"


def test_a_proposal_shows_whom_it_reaches(auditor, proposal):
    text = text_of(auditor.get(f"/proposals/{proposal}"))
    assert "Callers client, monitor may ask digits" in text
    assert "Production has answered 3 on this gateway since 20" in text
    assert "Version 1 stays loaded" in text


def test_what_rests_on_a_version_is_listed(console, auditor, proposal):
    text = text_of(auditor.get("/models/digits/versions/1/reach"))
    assert "Promoted production, move 1 admin" in text
    assert f"Answers in {ORIGIN}" in text
    answer = console.signed_in("approver-1").get("/models/digits/versions/2/reach")
    assert "Proposal for production publisher" in text_of(answer)
    assert "Approved for production approver-1" in text_of(answer)
    assert f'href="/proposals/{proposal}"' in answer.text
    # Answers are for auditors.
    assert "Answers in" not in answer.text
    link = f"/models/digits/versions/1/answers?log={ORIGIN}"
    assert "ROLE_TOO_LOW" in console.signed_in("approver-1").get(link).text


def test_the_answers_of_a_version_are_paged(console, auditor, monkeypatch):
    entries, link = r"/audit/entries/(\d+)", "/models/digits/versions/1/reach"
    whole = re.findall(entries, auditor.get(link).text)
    monkeypatch.setattr(reach, "ANSWERS", 1)
    monkeypatch.setattr(reach, "WINDOW", 4)
    seen: list[str] = []
    while link:
        page = auditor.get(link).text
        found = re.findall(entries, page)
        assert len(found) <= 1
        seen += found
        following = re.search(r'href="(/models/digits/versions/1/answers[^"]+)"', page)
        link = html.unescape(following[1]) if following else ""
    # Each once and in order.
    assert seen[: len(whole)] == whole
    assert len(whole) >= 3
    stranger = auditor.get("/models/digits/versions/1/answers?log=nobody")
    assert "LOG_UNKNOWN" in stranger.text


def test_an_admin_finds_the_way_back_on_the_models_page(console, auditor):
    link = 'href="/models/digits/aliases/production#back"'
    admin = console.signed_in("admin")
    assert link in admin.get("/models/digits").text
    assert link not in auditor.get("/models/digits").text
    assert "Version 1 ready Promoted by admin" in text_of(auditor.get("/models/digits"))


def test_who_has_no_passkey_is_shown_the_commands_in_place_of_forms(console, proposal):
    approver, admin = console.signed_in("approver-2"), console.signed_in("admin")
    page = approver.get(f"/proposals/{proposal}").text
    assert 'action="/sign"' not in page
    assert 'href="/passkeys"' in page
    for step in ("approve", "reject", "comment"):
        assert f"sealgate --as approver-2 model {step} {proposal}" in page
    assert "model promote" not in page
    page = admin.get("/models/digits/versions/2").text
    assert "sealgate --as admin model revoke digits 2 --reason" in page
    assert "sealgate --as admin model propose digits 2" in page


def test_a_proposal_tells_the_evidence_in_brief_before_it_asks_for_a_signature(auditor, proposal):
    text = text_of(auditor.get(f"/proposals/{proposal}"))
    places = [
        text.index(part)
        for part in ("The evidence in brief", "z = 16.", "Approvals: 1 of 2", "The statement")
    ]
    assert places == sorted(places)


def test_a_models_page_says_who_moved_its_aliases_and_why(auditor):
    text = text_of(auditor.get("/models/digits"))
    assert "Production to version 1, by admin “test”" in text
    assert "not screened" not in text


def test_the_evidence_of_both_versions_is_in_one_plot(auditor):
    page = auditor.get("/models/digits/versions/2").text
    assert "Share of attacks that screening finds, side by side" in page
    assert "fgsm" in page.split("side by side", 1)[1].lower()


def test_what_an_alias_names_is_told_as_it_happens(auditor):
    answer = auditor.get("/models/digits/aliases/production/live/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    first = json.loads(answer.text.split("\n", 1)[0].removeprefix("data: "))
    assert first == {"word": "live", "kind": "good", "text": "Version 1 answers now."}
    assert "event: end" in answer.text
    assert "ALIAS_UNKNOWN" in auditor.get("/models/digits/aliases/canary/live/events").text
