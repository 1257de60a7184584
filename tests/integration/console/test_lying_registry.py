"""A registry that shows other things than people signed is found out by the console."""

import pytest

from console.reading.gateway import PersonCalls, RegistryAnswers
from console.reading.proposals import read_proposal
from sealgate.reasons import Reason
from sealgate.v1.registry_pb2 import GetProposalRequest, GetProposalResponse, GetVersionRequest
from tests.support.builders.documents.people import refused


@pytest.fixture
def message(gateway, proposal):
    request = GetProposalRequest(digest=proposal)
    return gateway.registry("auditor").GetProposal(request).proposal


def test_an_approval_counts_once(gateway, message):
    policies = [gateway.governance("auditor").policy()]
    assert read_proposal(message, policies).missing == 1
    message.approvals.append(message.approvals[0])
    with refused(Reason.DIGEST_MISMATCH):
        read_proposal(message, policies)


def test_a_version_that_was_shown_once_is_verified_again_once_it_is_sent_otherwise(
    gateway, console, monkeypatch
):
    person, ask = console.signed_in("auditor"), PersonCalls.ask
    page = "/models/digits/versions/1"
    honest = person.get(page)
    lies = []

    def lied(calls, method, request, *given):
        answer = ask(calls, method, request, *given)
        if isinstance(request, GetVersionRequest) and lies:
            lies[-1](answer.version)
        return answer

    monkeypatch.setattr(PersonCalls, "ask", lied)
    monkeypatch.setattr(RegistryAnswers, "find", lambda answers, key: None)
    other = gateway.registry("auditor").GetVersion(
        GetVersionRequest(name="models/digits/versions/2")
    )
    for lie, reason in (
        (lambda version: version.evidence.append(other.version.evidence[0]), "EVIDENCE_MISMATCH"),
        (lambda version: setattr(version, "digest", other.version.digest), "DIGEST_MISMATCH"),
        (lambda version: setattr(version, "signature", other.version.signature), "DIGEST_MISMATCH"),
        (lambda version: setattr(version, "publisher", "auditor"), "Reason: <code>"),
        (lambda version: version.attached.append(version.evidence[0]), "EVIDENCE_MISMATCH"),
    ):
        lies.append(lie)
        assert reason in person.get(page).text
    lies.append(lambda version: setattr(version, "revocation_reason", "It leaks."))
    assert "It leaks." in person.get(page).text
    lies.clear()
    assert "It leaks." not in honest.text
    assert person.get(page).status_code == 200


def test_another_proposal_is_not_shown_under_a_link(console, message, monkeypatch):
    person, ask = console.signed_in("auditor"), PersonCalls.ask

    def lied(calls, method, request, *given):
        if isinstance(request, GetProposalRequest):
            return GetProposalResponse(proposal=message)
        return ask(calls, method, request, *given)

    monkeypatch.setattr(PersonCalls, "ask", lied)
    assert "DIGEST_MISMATCH" not in person.get(f"/proposals/{message.digest}").text
    other = "sha256:" + "0" * 64
    assert "DIGEST_MISMATCH" in person.get(f"/proposals/{other}").text
