"""Rejections, withdrawals and comments as documents, and what a statement of freshness tells."""

from dataclasses import replace

import pytest

from sealgate.reasons import Reason
from sealgate.trust.statements import (
    Comment,
    Freshness,
    ProposalWithdrawal,
    Rejection,
    open_statement,
    sign_statement,
)
from sealgate.trust.statements.base import Statement
from tests.support.builders.documents.people import (
    VERSION_DIGEST,
    at,
    key,
    make_policy,
    refused,
)

POLICY = make_policy()
REPLIES: tuple[Statement, ...] = (
    Rejection(VERSION_DIGEST, "anna", "No.", at()),
    ProposalWithdrawal(VERSION_DIGEST, "paula", "Another.", at()),
    Comment(VERSION_DIGEST, "anna", "See row 17.", at()),
)


@pytest.mark.parametrize("said", REPLIES, ids=lambda said: type(said).__name__)
class TestReply:
    def test_is_read_as_it_was_written(self, said: Statement) -> None:
        assert type(said).decode(said.encode()) == said

    def test_is_opened_by_its_author_alone(self, said: Statement) -> None:
        roles = ("approver", "publisher")
        envelope = sign_statement(said, key(said.author))
        assert open_statement(envelope, type(said), POLICY, roles) == said
        with refused(Reason.SIGNER_MISMATCH):
            open_statement(sign_statement(said, key("otto")), type(said), POLICY, roles)
        with refused(Reason.ROLE_TOO_LOW):
            open_statement(envelope, type(said), POLICY, ("admin",))

    def test_is_nothing_else(self, said: Statement) -> None:
        envelope = sign_statement(said, key(said.author))
        for kind in {type(other) for other in REPLIES} - {type(said)}:
            with refused(Reason.SIGNATURE_INVALID):
                open_statement(envelope, kind, POLICY, ("approver", "publisher"))


class TestFreshness:
    statement = Freshness(1, (), (), at(), at(hours=1))

    def test_without_rejections_has_the_bytes_that_it_always_had(self) -> None:
        assert b"rejected" not in self.statement.encode()
        assert Freshness.decode(self.statement.encode()) == self.statement

    def test_with_rejections(self) -> None:
        told = replace(self.statement, rejected=(VERSION_DIGEST,))
        assert Freshness.decode(told.encode()) == told
        with refused(Reason.DOCUMENT_MALFORMED):
            replace(self.statement, rejected=("sha256:f",))
