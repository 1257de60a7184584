"""Rejections, withdrawals and comments: what they end, and every way in which they are refused."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, update

from registry.audit.rebuild import Rebuild
from registry.listing.paging import ListQuery
from registry.log.inspection import Difference
from registry.promotion.replies import MOST_COMMENTS
from registry.state import schema
from registry.state.records import ProposalRecord
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy.promotion_rules import RejectionRules
from sealgate.trust.statements import (
    Approval,
    Freshness,
    Rejection,
    sign_statement,
)
from tests.support.builders.documents.people import at, key, refused
from tests.support.harness.registry import RegistryHarness, verify_as_an_engine

UNKNOWN = "sha256:" + "0" * 64


def told(harness: RegistryHarness) -> Freshness:
    return Freshness.decode(Envelope.decode(harness.registry.snapshot().freshness).payload)


def rebuild_differences(harness: RegistryHarness) -> list[Difference]:
    with harness.database.reading() as connection:
        return list(Rebuild(connection, harness.policy).differences())


END = {"rejected": RegistryHarness.reject, "withdrawn": RegistryHarness.withdraw}


@pytest.mark.parametrize("how", END)
class TestAnEndedProposal:
    def test_says_so(self, harness: RegistryHarness, how: str) -> None:
        proposal = harness.propose(harness.publish())
        assert proposal.state == "open"
        ended = END[how](harness, proposal.digest)
        assert ended.state == how
        assert (len(ended.rejections), bool(ended.withdrawal)) == (
            how == "rejected",
            how != "rejected",
        )
        assert harness.registry.proposals.get(proposal.digest) == ended
        assert told(harness).rejected == (proposal.digest,)

    def test_takes_no_approval(self, harness: RegistryHarness, how: str) -> None:
        proposal = harness.propose(harness.publish())
        END[how](harness, proposal.digest)
        with refused(Reason.PROPOSAL_REJECTED):
            harness.approve(proposal, "arne")

    def test_is_not_promoted(self, harness: RegistryHarness, how: str) -> None:
        proposal = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        END[how](harness, proposal.digest)
        with refused(Reason.PROPOSAL_REJECTED):
            harness.promote(proposal)

    def test_does_not_end_twice(self, harness: RegistryHarness, how: str) -> None:
        proposal = harness.propose(harness.publish())
        END[how](harness, proposal.digest)
        for again in END.values():
            with refused(Reason.PROPOSAL_REJECTED):
                again(harness, proposal.digest)

    def test_makes_room_for_a_new_one(self, harness: RegistryHarness, how: str) -> None:
        version = harness.publish()
        END[how](harness, harness.propose(version).digest)
        harness.now += timedelta(minutes=1)
        verify_as_an_engine(harness, harness.release(version))

    def test_is_refused_whatever_the_tables_say(self, harness: RegistryHarness, how: str) -> None:
        """Somebody who deletes the row brings no proposal back: the log decides."""
        proposal = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        END[how](harness, proposal.digest)
        with harness.database.writing() as connection:
            connection.execute(delete(schema.REJECTIONS))
            connection.execute(delete(schema.PROPOSAL_WITHDRAWALS))
            connection.commit()
        with refused(Reason.PROPOSAL_REJECTED):
            harness.promote(proposal)
        with refused(Reason.LOG_INCONSISTENT):
            harness.registry.verify()

    def test_of_nothing(self, harness: RegistryHarness, how: str) -> None:
        with refused(Reason.PROPOSAL_UNKNOWN):
            END[how](harness, UNKNOWN)

    def test_too_late(self, harness: RegistryHarness, how: str) -> None:
        proposal = harness.propose(harness.publish())
        harness.now += timedelta(days=8)
        assert harness.registry.proposals.get(proposal.digest).state == "expired"
        with refused(Reason.PROPOSAL_EXPIRED):
            END[how](harness, proposal.digest)

    def test_after_the_move(self, harness: RegistryHarness, how: str) -> None:
        proposal = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        harness.promote(proposal)
        assert harness.registry.proposals.get(proposal.digest).state == "moved"
        with refused(Reason.SEQUENCE_STALE):
            END[how](harness, proposal.digest)

    def test_signed_by_another(self, harness: RegistryHarness, how: str) -> None:
        proposal = harness.propose(harness.publish())
        with refused(Reason.SIGNER_MISMATCH):
            END[how](harness, proposal.digest, signer="otto")

    def test_with_the_rest_of_the_record(self, harness: RegistryHarness, how: str) -> None:
        END[how](harness, harness.propose(harness.publish()).digest)
        harness.registry.verify()
        harness.reopen().verify()
        assert len(told(harness).rejected) == 1


@pytest.mark.parametrize("how", END)
class TestAnEndedProposalWhoseAliasHasMoved:
    """It leaves the freshness statement, and stays ended."""

    @pytest.fixture
    def ended(self, harness: RegistryHarness, how: str) -> ProposalRecord:
        version = harness.publish()
        proposal = harness.approve(harness.propose(version), "anna", "arne")
        END[how](harness, proposal.digest)
        harness.now += timedelta(minutes=1)
        verify_as_an_engine(harness, harness.release(version))
        return proposal

    def test_is_named_no_more(self, harness: RegistryHarness, ended: ProposalRecord) -> None:
        assert told(harness).rejected == ()
        harness.registry.verify()
        assert list(rebuild_differences(harness)) == []
        harness.reopen().verify()

    def test_is_still_not_promoted(self, harness: RegistryHarness, ended: ProposalRecord) -> None:
        """Neither as the registry knows it, nor after it began anew."""
        for _ in range(2):
            with refused(Reason.SEQUENCE_STALE):
                harness.promote(ended)
            with refused(Reason.PROPOSAL_REJECTED):
                harness.promote(ended, sequence=2)
            harness.registry = harness.reopen()

    def test_of_another_alias_stays(self, harness: RegistryHarness, how: str) -> None:
        version = harness.publish()
        digest = harness.propose(version, alias="canary").digest
        END[how](harness, digest)
        harness.release(version)
        assert told(harness).rejected == (digest,)


def test_a_statement_of_an_earlier_release_names_every_ended_proposal(
    harness: RegistryHarness,
) -> None:
    version = harness.publish()
    ended = harness.reject(harness.propose(version).digest)
    harness.now += timedelta(minutes=1)
    harness.release(version)
    earlier = replace(told(harness), rejected=(ended.digest,))
    envelope = sign_statement(earlier, key("fresh")).encode()
    with harness.database.writing() as connection:
        connection.execute(update(schema.FRESHNESS).values(envelope=envelope))
        connection.commit()
    harness.reopen().verify()
    assert list(rebuild_differences(harness)) == []


def test_a_rejection_by_an_admin(harness: RegistryHarness) -> None:
    with refused(Reason.ROLE_TOO_LOW):
        harness.reject(harness.propose(harness.publish()).digest, "otto")


def test_a_withdrawal_by_somebody_else(harness: RegistryHarness) -> None:
    proposal = harness.propose(harness.publish())
    for person in ("peter", "otto"):
        with refused(Reason.SIGNER_MISMATCH):
            harness.withdraw(proposal.digest, person)


def test_a_withdrawal_by_an_approver(harness: RegistryHarness) -> None:
    with refused(Reason.ROLE_TOO_LOW):
        harness.withdraw(harness.propose(harness.publish()).digest, "anna")


def test_an_approval_shown_as_a_rejection(harness: RegistryHarness) -> None:
    said = Approval(harness.propose(harness.publish()).digest, "anna", "Yes.", at())
    with refused(Reason.DOCUMENT_MALFORMED):
        harness.registry.replies.reject("anna", sign_statement(said, key("anna")).encode())


def test_a_row_that_somebody_added_is_never_confirmed(harness: RegistryHarness) -> None:
    proposal = harness.propose(harness.publish())
    said = Rejection(proposal.digest, "anna", "No.", at())
    envelope = sign_statement(said, key("arne"))
    row = {"digest": envelope.payload_digest, "proposal": proposal.digest, "time": at()}
    row |= {"envelope": envelope.encode(), "entry": 0, "principal": "anna"}
    with harness.database.writing() as connection:
        connection.execute(insert(schema.REJECTIONS), row)
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        harness.promote(
            harness.approve(harness.propose(harness.publish("two"), alias="canary"), "anna")
        )


class TestWhereThePolicyLetsARejectionStopServing:
    @pytest.fixture
    def strict(self, harness: RegistryHarness) -> RegistryHarness:
        harness.accept(rejections=RejectionRules("serving"))
        return harness

    def test_what_is_live_is_no_longer_served(self, strict: RegistryHarness) -> None:
        proposal = strict.approve(strict.propose(strict.publish()), "anna", "arne")
        pointer = strict.promote(proposal)
        verify_as_an_engine(strict, pointer)
        strict.reject(proposal.digest)
        with refused(Reason.PROPOSAL_REJECTED):
            verify_as_an_engine(strict, pointer)

    def test_nobody_returns_to_it(self, strict: RegistryHarness) -> None:
        proposal = strict.approve(strict.propose(strict.publish()), "anna", "arne")
        first = strict.promote(proposal)
        strict.reject(proposal.digest)
        second = strict.release(strict.publish("two"), predecessor=1)
        verify_as_an_engine(strict, second)
        with refused(Reason.PROPOSAL_REJECTED):
            strict.roll_back(first, 3)

    def test_what_was_live_once_cannot_be_rejected_any_more(self, strict: RegistryHarness) -> None:
        proposal = strict.approve(strict.propose(strict.publish()), "anna", "arne")
        strict.promote(proposal)
        strict.release(strict.publish("two"), predecessor=1)
        with refused(Reason.SEQUENCE_STALE):
            strict.reject(proposal.digest)


class TestComment:
    def test_is_read_back_and_changes_nothing(self, harness: RegistryHarness) -> None:
        proposal = harness.propose(harness.publish())
        harness.comment(proposal.digest)
        found = harness.comment(proposal.digest, "otto", "I see it.")
        assert found.state == "open"
        assert len(found.comments) == 2
        verify_as_an_engine(harness, harness.promote(harness.approve(found, "anna", "arne")))

    def test_again_is_the_same(self, harness: RegistryHarness) -> None:
        proposal = harness.propose(harness.publish())
        first = harness.comment(proposal.digest)
        size = harness.registry.log.size()
        assert harness.comment(proposal.digest) == first
        assert harness.registry.log.size() == size

    def test_after_the_end(self, harness: RegistryHarness) -> None:
        proposal = harness.reject(harness.propose(harness.publish()).digest)
        assert len(harness.comment(proposal.digest, "paula").comments) == 1

    def test_too_many(self, harness: RegistryHarness) -> None:
        proposal = harness.propose(harness.publish())
        for number in range(MOST_COMMENTS):
            harness.comment(proposal.digest, text=f"Remark {number}.")
        with refused(Reason.COMMENTS_TOO_MANY):
            harness.comment(proposal.digest, text="One more.")
        assert harness.comment(proposal.digest, "arne").comments

    def test_of_nothing(self, harness: RegistryHarness) -> None:
        with refused(Reason.PROPOSAL_UNKNOWN):
            harness.comment(UNKNOWN)

    def test_by_a_service(self, harness: RegistryHarness) -> None:
        with refused(Reason.ROLE_TOO_LOW):
            harness.comment(harness.propose(harness.publish()).digest, "guard")


class TestList:
    def test_of_all_models_by_state(self, harness: RegistryHarness) -> None:
        harness.registry.models.create("paula", "letters")
        one, two = harness.publish("one"), harness.publish("two", "letters")
        mine = harness.propose(one)
        moved = harness.approve(harness.propose(one, alias="canary"), "anna")
        harness.promote(moved)
        ended = harness.reject(harness.propose(two).digest)
        assert self.found(harness, "state = open") == [mine.digest]
        assert self.found(harness, "state = moved") == [moved.digest]
        assert self.found(harness, "state = rejected") == [ended.digest]
        assert self.found(harness, "state = withdrawn") == []

    def test_by_publisher_and_model(self, harness: RegistryHarness) -> None:
        proposal = harness.propose(harness.publish(), proposer="otto")
        assert self.found(harness, "publisher = paula AND model = digits") == [proposal.digest]
        assert self.found(harness, "publisher = otto") == []
        assert self.found(harness, "model = letters") == []

    def found(self, harness: RegistryHarness, filter_: str) -> list[str]:
        page = harness.registry.proposals.list("", ListQuery(filter=filter_))
        return [record.digest for record in page.records]


def test_each_is_told_to_those_who_watch(harness: RegistryHarness) -> None:
    version = harness.publish()
    proposal = harness.propose(version)
    start = harness.registry.log.size()
    commented = harness.comment(proposal.digest)
    rejected = harness.reject(proposal.digest)
    harness.now += timedelta(minutes=1)
    other = harness.propose(version)
    withdrawn = harness.withdraw(other.digest)
    changes = harness.registry.feed.read(start, harness.registry.log.size())
    nothing = replace(proposal, state="")
    assert [(c.event, c.record) for c in changes if c is not None] == [
        ("comment.added", replace(nothing, comments=commented.comments)),
        ("proposal.rejected", replace(nothing, state="rejected", rejections=rejected.rejections)),
        ("proposal.created", other),
        ("proposal.withdrawn", replace(other, state="withdrawn", withdrawal=withdrawn.withdrawal)),
    ]


@pytest.mark.parametrize("how", END)
def test_nobody_fills_the_freshness_statement(
    harness: RegistryHarness, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines are told of every proposal that ended since its alias moved, so one person may end
    few of an alias that stays where it is.
    """
    monkeypatch.setattr("registry.promotion.replies.MOST_ENDED", 2)
    version = harness.publish()
    ended = [harness.propose(version, not_after=at(hours=hours)) for hours in range(1, 4)]
    for proposal in ended[:2]:
        END[how](harness, proposal.digest)
    with refused(Reason.RATE_EXCEEDED):
        END[how](harness, ended[2].digest)
    assert len(told(harness).rejected) == 2
    harness.release(version)
    later = harness.propose(version, predecessor=1)
    assert END[how](harness, later.digest).state == how
    assert told(harness).rejected == (later.digest,)
