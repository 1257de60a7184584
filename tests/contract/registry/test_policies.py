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
from tests.support.bureau import Bureau, bureau_policy
from tests.support.people import (
    ANSWER_LOG,
    REGISTRY_LOG,
    at,
    key,
    make_policy,
    refused,
    sign_policy,
)
from tests.support.records import SUBJECTS, an_answer


class TestPolicy:
    def test_chain_grows(self, bureau: Bureau) -> None:
        first = bureau.policy
        second = bureau.accept(expires=at(days=400))
        chain = bureau.registry.policies.chain()
        assert chain.policies == (first, second)
        assert [Envelope.decode(e).payload for e in chain.envelopes] == [
            first.encode(),
            second.encode(),
        ]
        assert bureau.registry.policies.current() == second

    def test_is_kept_over_a_restart(self, bureau: Bureau) -> None:
        second = bureau.accept()
        assert bureau.reopen().policies.current() == second

    def test_first_signed_by_strangers(self, empty_bureau: Bureau) -> None:
        envelope = sign_policy(empty_bureau.policy, "anna", "arne").encode()
        with refused(Reason.THRESHOLD_NOT_MET):
            empty_bureau.registry.policies.accept("root", envelope)

    def test_first_signed_by_one(self, empty_bureau: Bureau) -> None:
        envelope = sign_policy(empty_bureau.policy, "root-0").encode()
        with refused(Reason.THRESHOLD_NOT_MET):
            empty_bureau.registry.policies.accept("root", envelope)

    @pytest.mark.parametrize(
        ("version", "reason"), [(1, Reason.POLICY_ROLLED_BACK), (3, Reason.POLICY_INVALID)]
    )
    def test_out_of_order(self, bureau: Bureau, version: int, reason: Reason) -> None:
        envelope = sign_policy(replace(bureau.policy, version=version)).encode()
        with refused(reason):
            bureau.registry.policies.accept("root", envelope)

    def test_expired(self, bureau: Bureau) -> None:
        envelope = sign_policy(replace(bureau.policy, version=2, expires=at())).encode()
        with refused(Reason.POLICY_EXPIRED):
            bureau.registry.policies.accept("root", envelope)

    def test_of_another_log(self, empty_bureau: Bureau) -> None:
        other = bureau_policy(registry_log=vkey(REGISTRY_LOG, key("other").public))
        with refused(Reason.POLICY_INVALID):
            empty_bureau.registry.policies.accept("root", sign_policy(other).encode())

    def test_without_the_freshness_key(self, empty_bureau: Bureau) -> None:
        policy = make_policy()
        people = tuple(person for person in policy.principals if person.name != "fresh")
        other = make_policy(principals=people)
        with refused(Reason.POLICY_INVALID):
            empty_bureau.registry.policies.accept("root", sign_policy(other).encode())

    def test_not_canonical(self, empty_bureau: Bureau) -> None:
        with refused(Reason.DOCUMENT_MALFORMED):
            empty_bureau.registry.policies.accept(
                "root", sign_policy(empty_bureau.policy).encode() + b"\n"
            )

    def test_none_yet(self, empty_bureau: Bureau) -> None:
        for ask in (
            empty_bureau.registry.policies.chain,
            empty_bureau.registry.snapshot,
            empty_bureau.registry.refresh,
        ):
            with refused(Reason.POLICY_INVALID):
                ask()


class TestFreshness:
    def test_follows_every_move(self, bureau: Bureau) -> None:
        version = bureau.publish()
        before = self.statement(bureau)
        pointer = bureau.release(version)
        after = self.statement(bureau)
        assert before.pointers == ()
        assert after.pointers == (("digits/production", 1, pointer.digest),)
        assert after.sequence == before.sequence + 1
        bureau.revoke(version)
        assert self.statement(bureau).revoked == (version.digest,)

    def test_is_renewed_when_a_quarter_has_gone(self, bureau: Bureau) -> None:
        assert not bureau.registry.refresh()
        bureau.now += timedelta(seconds=899)
        assert not bureau.registry.refresh()
        bureau.now += timedelta(seconds=1)
        size = bureau.registry.log.size()
        before = self.statement(bureau)
        assert bureau.registry.refresh()
        assert not bureau.registry.refresh()
        assert self.statement(bureau).sequence == before.sequence + 1
        assert bureau.registry.log.size() == size

    def test_is_renewed_when_the_policy_shortens_its_life(self, bureau: Bureau) -> None:
        bureau.accept(rules=replace(bureau.policy.rules, freshness_seconds=60))
        assert (self.statement(bureau).issued, self.statement(bureau).expires) == (
            at(),
            at(seconds=60),
        )

    def test_goes_on_after_a_restart(self, bureau: Bureau) -> None:
        before = self.statement(bureau)
        bureau.reopen()
        bureau.now += timedelta(hours=2)
        assert bureau.registry.refresh()
        assert self.statement(bureau).sequence == before.sequence + 1

    def test_is_not_renewed_under_an_expired_policy(self, bureau: Bureau) -> None:
        bureau.now += timedelta(days=301)
        with refused(Reason.POLICY_EXPIRED):
            bureau.registry.refresh()

    def statement(self, bureau: Bureau) -> Freshness:
        envelope = Envelope.decode(bureau.registry.snapshot().freshness)
        return verify_freshness(envelope, bureau.policy, bureau.now)


class TestChangeToken:
    def test_stays_while_nothing_happens(self, bureau: Bureau) -> None:
        token = bureau.registry.change_token()
        bureau.registry.snapshot()
        assert bureau.registry.change_token() == token

    def test_changes_with_every_change(self, bureau: Bureau) -> None:
        tokens = {bureau.registry.change_token()}
        bureau.release(bureau.publish())
        tokens.add(bureau.registry.change_token())
        bureau.now += timedelta(hours=1)
        bureau.registry.refresh()
        tokens.add(bureau.registry.change_token())
        assert len(tokens) == 3


class TestAnchor:
    def test_follows_the_answer_log(self, bureau: Bureau, tmp_path: Path) -> None:
        log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
        log.append([an_answer()] * 3)
        anchors = bureau.registry.anchors
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
        bureau.registry.verify()

    def test_refuses_a_log_that_was_cut_short(self, bureau: Bureau, tmp_path: Path) -> None:
        log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
        log.append([an_answer()] * 3)
        three = log.note
        log.append([an_answer()])
        bureau.registry.anchors.add("gateway", log.note)
        with refused(Reason.LOG_INCONSISTENT):
            bureau.registry.anchors.add("gateway", three)
        log.close()
        newest = bureau.registry.anchors.newest(ANSWER_LOG)
        with refused(Reason.LOG_INCONSISTENT):
            AnswerLog.open(
                tmp_path / "other.db", ANSWER_LOG, key("answer-log"), SUBJECTS, known=newest
            )

    def test_refuses_another_history(self, bureau: Bureau, tmp_path: Path) -> None:
        log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
        log.append([an_answer()] * 3)
        bureau.registry.anchors.add("gateway", log.note)
        log.close()
        fork = AnswerLog.open(tmp_path / "fork.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
        fork.append([an_answer("other")] * 5)
        with refused(Reason.PROOF_INVALID):
            bureau.registry.anchors.add("gateway", fork.note, fork.reader.consistency(3, 5))
        fork.close()

    def test_refuses_a_log_that_the_policy_does_not_name(
        self, bureau: Bureau, tmp_path: Path
    ) -> None:
        log = AnswerLog.open(
            tmp_path / "answers.db", "example.org/other", key("answer-log"), SUBJECTS
        )
        with refused(Reason.LOG_UNKNOWN):
            bureau.registry.anchors.add("gateway", log.note)
        with refused(Reason.LOG_UNKNOWN):
            bureau.registry.anchors.add("gateway", bureau.registry.log.checkpoint())
        log.close()

    def test_refuses_another_key(self, bureau: Bureau, tmp_path: Path) -> None:
        log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("other"), SUBJECTS)
        with refused(Reason.SIGNATURE_INVALID):
            bureau.registry.anchors.add("gateway", log.note)
        log.close()
