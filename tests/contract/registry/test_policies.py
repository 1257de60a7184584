"""The chain of policies, the freshness statement, snapshots and anchors."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry.answers.answer_log import AnswerLog
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Freshness, verify_freshness
from sealgate.trust.transparency.note import vkey
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    REGISTRY_LOG,
    at,
    key,
    make_policy,
    refused,
    sign_policy,
)
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.registry import RegistryHarness, harness_policy


class TestPolicy:
    def test_chain_grows(self, harness: RegistryHarness) -> None:
        first = harness.policy
        second = harness.accept(expires=at(days=400))
        chain = harness.registry.policies.chain()
        assert chain.policies == (first, second)
        assert [Envelope.decode(e).payload for e in chain.envelopes] == [
            first.encode(),
            second.encode(),
        ]
        assert harness.registry.policies.current() == second

    def test_is_kept_over_a_restart(self, harness: RegistryHarness) -> None:
        second = harness.accept()
        assert harness.reopen().policies.current() == second

    def test_first_signed_by_strangers(self, empty_harness: RegistryHarness) -> None:
        envelope = sign_policy(empty_harness.policy, "anna", "arne").encode()
        with refused(Reason.THRESHOLD_NOT_MET):
            empty_harness.registry.policies.accept("root", envelope)

    def test_first_signed_by_one(self, empty_harness: RegistryHarness) -> None:
        envelope = sign_policy(empty_harness.policy, "root-0").encode()
        with refused(Reason.THRESHOLD_NOT_MET):
            empty_harness.registry.policies.accept("root", envelope)

    @pytest.mark.parametrize(
        ("version", "reason"), [(1, Reason.POLICY_ROLLED_BACK), (3, Reason.POLICY_INVALID)]
    )
    def test_out_of_order(self, harness: RegistryHarness, version: int, reason: Reason) -> None:
        envelope = sign_policy(replace(harness.policy, version=version)).encode()
        with refused(reason):
            harness.registry.policies.accept("root", envelope)

    def test_expired(self, harness: RegistryHarness) -> None:
        envelope = sign_policy(replace(harness.policy, version=2, expires=at())).encode()
        with refused(Reason.POLICY_EXPIRED):
            harness.registry.policies.accept("root", envelope)

    def test_of_another_log(self, empty_harness: RegistryHarness) -> None:
        other = harness_policy(registry_log=vkey(REGISTRY_LOG, key("other").public))
        with refused(Reason.POLICY_INVALID):
            empty_harness.registry.policies.accept("root", sign_policy(other).encode())

    def test_without_the_freshness_key(self, empty_harness: RegistryHarness) -> None:
        policy = make_policy()
        people = tuple(person for person in policy.principals if person.name != "fresh")
        other = make_policy(principals=people)
        with refused(Reason.POLICY_INVALID):
            empty_harness.registry.policies.accept("root", sign_policy(other).encode())

    def test_not_canonical(self, empty_harness: RegistryHarness) -> None:
        with refused(Reason.DOCUMENT_MALFORMED):
            empty_harness.registry.policies.accept(
                "root", sign_policy(empty_harness.policy).encode() + b"\n"
            )

    def test_none_yet(self, empty_harness: RegistryHarness) -> None:
        for ask in (
            empty_harness.registry.policies.chain,
            empty_harness.registry.snapshot,
            empty_harness.registry.refresh,
        ):
            with refused(Reason.POLICY_INVALID):
                ask()


class TestFreshness:
    def test_follows_every_move(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        before = self.statement(harness)
        pointer = harness.release(version)
        after = self.statement(harness)
        assert before.pointers == ()
        assert after.pointers == (("digits/production", 1, pointer.digest),)
        assert after.sequence == before.sequence + 1
        harness.revoke(version)
        assert self.statement(harness).revoked == (version.digest,)

    def test_is_renewed_when_a_quarter_has_gone(self, harness: RegistryHarness) -> None:
        assert not harness.registry.refresh()
        harness.now += timedelta(seconds=899)
        assert not harness.registry.refresh()
        harness.now += timedelta(seconds=1)
        size = harness.registry.log.size()
        before = self.statement(harness)
        assert harness.registry.refresh()
        assert not harness.registry.refresh()
        assert self.statement(harness).sequence == before.sequence + 1
        assert harness.registry.log.size() == size

    def test_is_renewed_when_the_policy_shortens_its_life(self, harness: RegistryHarness) -> None:
        harness.accept(rules=replace(harness.policy.rules, freshness_seconds=60))
        assert (self.statement(harness).issued, self.statement(harness).expires) == (
            at(),
            at(seconds=60),
        )

    def test_goes_on_after_a_restart(self, harness: RegistryHarness) -> None:
        before = self.statement(harness)
        harness.reopen()
        harness.now += timedelta(hours=2)
        assert harness.registry.refresh()
        assert self.statement(harness).sequence == before.sequence + 1

    def test_is_not_renewed_under_an_expired_policy(self, harness: RegistryHarness) -> None:
        harness.now += timedelta(days=301)
        with refused(Reason.POLICY_EXPIRED):
            harness.registry.refresh()

    def statement(self, harness: RegistryHarness) -> Freshness:
        envelope = Envelope.decode(harness.registry.snapshot().freshness)
        return verify_freshness(envelope, harness.policy, harness.now)


class TestChangeToken:
    def test_stays_while_nothing_happens(self, harness: RegistryHarness) -> None:
        token = harness.registry.change_token()
        harness.registry.snapshot()
        assert harness.registry.change_token() == token

    def test_changes_with_every_change(self, harness: RegistryHarness) -> None:
        tokens = {harness.registry.change_token()}
        harness.release(harness.publish())
        tokens.add(harness.registry.change_token())
        harness.now += timedelta(hours=1)
        harness.registry.refresh()
        tokens.add(harness.registry.change_token())
        assert len(tokens) == 3


class TestAnchor:
    def test_follows_the_answer_log(self, harness: RegistryHarness, tmp_path: Path) -> None:
        log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
        log.append([an_answer()] * 3)
        anchors = harness.registry.anchors
        assert anchors.newest(ANSWER_LOG) is None
        entry = anchors.add("gateway", log.note)
        assert anchors.add("gateway", log.note) == entry
        log.append([an_answer()] * 200)
        anchors.add("gateway", log.note, log.reader.consistency(3, 203))
        newest = anchors.newest(ANSWER_LOG)
        assert newest is not None
        assert newest.size == 203
        log.close()
        AnswerLog.open(
            tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS, known=newest
        ).close()
        harness.registry.verify()

    def test_refuses_a_log_that_was_cut_short(
        self, harness: RegistryHarness, tmp_path: Path
    ) -> None:
        log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
        log.append([an_answer()] * 3)
        three = log.note
        log.append([an_answer()])
        harness.registry.anchors.add("gateway", log.note)
        with refused(Reason.LOG_INCONSISTENT):
            harness.registry.anchors.add("gateway", three)
        log.close()
        newest = harness.registry.anchors.newest(ANSWER_LOG)
        with refused(Reason.LOG_INCONSISTENT):
            AnswerLog.open(
                tmp_path / "other.db", ANSWER_LOG, key("answer-log"), SUBJECTS, known=newest
            )

    def test_refuses_another_history(self, harness: RegistryHarness, tmp_path: Path) -> None:
        log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
        log.append([an_answer()] * 3)
        harness.registry.anchors.add("gateway", log.note)
        log.close()
        fork = AnswerLog.open(tmp_path / "fork.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
        fork.append([an_answer("other")] * 5)
        with refused(Reason.PROOF_INVALID):
            harness.registry.anchors.add("gateway", fork.note, fork.reader.consistency(3, 5))
        fork.close()

    def test_refuses_a_log_that_the_policy_does_not_name(
        self, harness: RegistryHarness, tmp_path: Path
    ) -> None:
        log = AnswerLog.open(
            tmp_path / "answers.db", "example.org/other", key("answer-log"), SUBJECTS
        )
        with refused(Reason.LOG_UNKNOWN):
            harness.registry.anchors.add("gateway", log.note)
        with refused(Reason.LOG_UNKNOWN):
            harness.registry.anchors.add("gateway", harness.registry.log.checkpoint())
        log.close()

    def test_refuses_another_key(self, harness: RegistryHarness, tmp_path: Path) -> None:
        log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("other"), SUBJECTS)
        with refused(Reason.SIGNATURE_INVALID):
            harness.registry.anchors.add("gateway", log.note)
        log.close()
