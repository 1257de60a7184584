"""A registry that shows other things than people signed is found out by the console."""

import pytest

from console.reading.gateway import PersonCalls
from console.reading.proposals import read_proposal
from sealgate.reasons import Reason
from sealgate.v1.registry_pb2 import GetProposalRequest, GetProposalResponse
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
