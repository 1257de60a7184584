"""Reports of true outcomes: what is refused and why, what is recorded, and what it says."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from sealgate.reasons import Reason
from sealgate.tensors import Tensor
from sealgate.trust.policy.rights import ACTION_ROLES
from sealgate.trust.receipts import Receipt
from sealgate.v1 import log_pb2
from sealgate.v1 import outcome_pb2 as messages
from tests.support.harness.gateway import GatewayHarness, refusal
from tests.support.harness.outcomes import (
    TAKEN,
    Answered,
    answer,
    other_label,
    outcomes,
    report_of,
    reporting,
    shown,
    told,
)
from tests.support.harness.policy_changes import accept, change, person
from tests.support.harness.rollouts import share


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with reporting(tmp_path_factory.mktemp("outcomes") / "state") as harness:
        yield harness


def opened(harness: GatewayHarness, origin: str, index: int) -> dict[str, str]:
    request = log_pb2.OpenEntryRequest(origin=origin, index=index)
    receipt = Receipt.decode(harness.logs().OpenEntry(request).receipt)
    return {name: value for name, (_, value) in receipt.opened.items()}


def size(harness: GatewayHarness) -> int:
    return harness.gateway.recorder.size


class TestRefused:
    def test_by_role(self, harness: GatewayHarness) -> None:
        request = messages.ReportOutcomesRequest(origin="house/answers")
        assert refusal(outcomes(harness, "admin").ReportOutcomes, request) is Reason.ROLE_TOO_LOW
        asked = messages.GetOutcomesRequest(model="digits")
        assert refusal(outcomes(harness, "client").GetOutcomes, asked) is Reason.ROLE_TOO_LOW

    @pytest.mark.parametrize(
        ("edit", "reason"),
        [
            (lambda r: setattr(r, "origin", "no/log"), Reason.LOG_UNKNOWN),
            (lambda r: r.ClearField("reports"), Reason.PARAMETER_MALFORMED),
            (lambda r: r.reports.append(r.reports[0]), Reason.PARAMETER_MALFORMED),
            (
                lambda r: r.reports.extend(
                    messages.OutcomeReport(index=10_000 + at) for at in range(256)
                ),
                Reason.PARAMETER_MALFORMED,
            ),
            (lambda r: setattr(r, "request_id", "x" * 129), Reason.PARAMETER_MALFORMED),
            (
                lambda r: r.reports[0].outputs.append(r.reports[0].outputs[0]),
                Reason.PARAMETER_MALFORMED,
            ),
            (
                lambda r: setattr(r.reports[0].outputs[0], "raw", b"\0"),
                Reason.TENSOR_BYTES,
            ),
        ],
    )
    def test_as_a_whole(
        self,
        harness: GatewayHarness,
        edit: Callable[[messages.ReportOutcomesRequest], object],
        reason: Reason,
    ) -> None:
        answered = answer(harness)
        request = messages.ReportOutcomesRequest(
            origin=answered.origin, reports=[report_of(answered)]
        )
        edit(request)
        assert refusal(outcomes(harness).ReportOutcomes, request) is reason

    @pytest.mark.parametrize(
        ("edit", "reason"),
        [
            (lambda r: setattr(r, "index", 1 << 40), Reason.ENTRY_UNKNOWN),
            (lambda r: setattr(r, "index", -1), Reason.ENTRY_UNKNOWN),
            (lambda r: r.ClearField("outputs"), Reason.OUTCOME_MISMATCH),
            (lambda r: setattr(r.outputs[0], "raw", b"\0" * 40), Reason.OUTCOME_MISMATCH),
            (lambda r: r.ClearField("truths"), Reason.OUTCOME_MALFORMED),
            (lambda r: r.truths.add(labels=["1"]), Reason.OUTCOME_MALFORMED),
            (lambda r: r.truths[0].labels.append("1"), Reason.OUTCOME_MALFORMED),
            (lambda r: r.truths[0].numbers.append(1.0), Reason.OUTCOME_MALFORMED),
            (lambda r: r.truths[0].labels.__setitem__(0, "ten"), Reason.OUTCOME_MALFORMED),
            (lambda r: r.groups.update(age="ancient"), Reason.OUTCOME_GROUP),
            (lambda r: r.groups.update(mood="good"), Reason.OUTCOME_GROUP),
        ],
    )
    def test_one_alone(
        self,
        harness: GatewayHarness,
        edit: Callable[[messages.OutcomeReport], object],
        reason: Reason,
    ) -> None:
        """Nothing is recorded of what is refused, and the other reports are taken."""
        answered, good = answer(harness), answer(harness, 1)
        bad = report_of(answered)
        edit(bad)
        before = size(harness)
        first, second = told(harness, answered.origin, bad, report_of(good))
        assert (first.index, first.reason, first.entry) == (bad.index, reason.name, 0)
        assert (second.reason, second.entry) == ("", before)
        assert size(harness) == before + 1

    def test_another_callers(self, harness: GatewayHarness) -> None:
        change(
            harness,
            lambda new: person(new, "auditor")["roles"].append("client"),
        )
        answered = answer(harness)
        [result] = told(harness, answered.origin, report_of(answered), person="auditor")
        assert result.reason == Reason.OUTCOME_FOREIGN.name
        # An entry that is no model's answer has an owner too.
        read = size(harness)
        opened(harness, answered.origin, answered.index)
        report = messages.OutcomeReport(index=read)
        [result] = told(harness, answered.origin, report, person="auditor")
        assert result.reason == Reason.OUTCOME_UNSUITABLE.name
        change(harness, lambda new: person(new, "auditor")["roles"].append("monitor"))
        [result] = told(harness, answered.origin, report_of(answered), person="auditor")
        assert result.reason == ""
        entry = opened(harness, answered.origin, result.entry)
        assert entry["principal"] == "auditor"

    def test_without_a_right_or_a_section(self, harness: GatewayHarness) -> None:
        answered = answer(harness)
        right = {"principals": [], "models": ["*"], "aliases": ["*"]}
        others = [
            right | {"roles": ["client"], "actions": ["infer"]},
            right | {"roles": ["auditor"], "actions": ["read"]},
        ]
        accept(harness, rights=others)
        [result] = told(harness, answered.origin, report_of(answered))
        assert result.reason == Reason.RIGHT_MISSING.name
        own = {"roles": ["client"], "actions": ["report"], "aliases": ["production"]}
        accept(harness, rights=[*others, right | own], outcomes={"faces": {}})
        [result] = told(harness, answered.origin, report_of(answered))
        assert result.reason == Reason.OUTCOME_UNWANTED.name
        accept(harness, outcomes={"*": {}})
        [result] = told(harness, answered.origin, report_of(answered))
        assert result.reason == ""
        everybody = sorted({role for roles in ACTION_ROLES.values() for role in roles})
        wide = right | {"roles": everybody, "actions": sorted(ACTION_ROLES)}
        accept(harness, rights=[wide], outcomes=TAKEN)

    def test_a_refused_request_and_a_report_itself(self, harness: GatewayHarness) -> None:
        answered = answer(harness)
        [result] = told(harness, answered.origin, report_of(answered))
        again = Answered(answered.origin, result.entry, answered.outputs)
        [result] = told(harness, answered.origin, report_of(again))
        assert result.reason == Reason.OUTCOME_UNSUITABLE.name


def test_a_report_is_recorded_beside_its_answer(harness: GatewayHarness) -> None:
    answered = answer(harness, 2, count=3, subject="patient-7")
    wrong = [other_label(answered.classes[0]), *answered.classes[1:]]
    report = report_of(answered, *wrong, groups={"age": "old"})
    [result] = told(harness, answered.origin, report, request_id="batch-1")
    about, entry = (opened(harness, answered.origin, at) for at in (answered.index, result.entry))
    same = ("model", "version", "version_digest", "pointer_sequence", "alias", "principal")
    assert {name: entry[name] for name in same} == {name: about[name] for name in same}
    assert entry["outcome"] == "reported"
    assert entry["input"] == str(answered.index)
    assert entry["request_id"] == "batch-1"
    said = json.loads(entry["output"])
    assert said["answers"] == answered.classes
    assert said["truths"] == wrong
    assert said["right"] == [False, True, True]
    assert said["groups"] == {"age": "old"}
    assert all(0.5 < confidence <= 1 for confidence in said["confidences"])


def test_the_same_again_changes_nothing_and_another_is_refused(harness: GatewayHarness) -> None:
    answered = answer(harness, 3)
    [first] = told(harness, answered.origin, report_of(answered), request_id="one")
    before = size(harness)
    [again] = told(harness, answered.origin, report_of(answered), request_id="one")
    assert again == first
    for other in (
        report_of(answered, other_label(answered.classes[0])),
        report_of(answered, groups={"age": "old"}),
    ):
        [result] = told(harness, answered.origin, other, request_id="two")
        assert (result.reason, result.entry) == (Reason.OUTCOME_EXISTS.name, 0)
    assert size(harness) == before


def test_a_gateway_that_starts_again_knows_what_it_knew(harness: GatewayHarness) -> None:
    answered = answer(harness, 4)
    told(harness, answered.origin, report_of(answered, groups={"age": "young"}))
    before = shown(harness)
    assert before[0].alias == "production"
    assert before[0].figures.outcomes == sum(point.outcomes for point in before[0].points) > 1
    assert 0 < before[0].figures.accuracy < 1
    assert before[0].figures.HasField("ece")
    assert {group.group for group in before[0].groups} == {"young", "old"}
    harness.stop()
    harness.start()
    harness.await_version("digits", 1)
    after = shown(harness)
    for series in (*after, *before):
        # Which rows came is counted anew.
        series.ClearField("columns")
    assert after == before
    [again] = told(harness, answered.origin, report_of(answered, groups={"age": "young"}))
    assert again.entry == before[0].last_entry


def test_an_erasure_reaches_outcomes(harness: GatewayHarness) -> None:
    answered = answer(harness, 5, subject="patient-8")
    before = shown(harness)[0].figures.outcomes
    [result] = told(harness, answered.origin, report_of(answered))
    assert shown(harness)[0].figures.outcomes == before + 1
    assert harness.command("subject", "erase", "patient-8", "--yes").exit_code == 0
    for index in (answered.index, result.entry):
        request = log_pb2.OpenEntryRequest(origin=answered.origin, index=index)
        assert refusal(harness.logs().OpenEntry, request) is Reason.ENTRY_ERASED
    assert shown(harness)[0].figures.outcomes == before
    [again] = told(harness, answered.origin, report_of(answered))
    assert again.reason == Reason.OPENING_MISSING.name


def test_nothing_is_taken_of_a_subject_that_is_being_erased(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = answer(harness, 7, subject="patient-9")
    recorder = harness.gateway.recorder
    monkeypatch.setattr(recorder, "is_erasing", lambda subject: subject == "patient-9")
    [result] = told(harness, answered.origin, report_of(answered))
    assert result.reason == Reason.OPENING_MISSING.name
    monkeypatch.undo()
    [result] = told(harness, answered.origin, report_of(answered))
    assert result.reason == ""


def test_answers_of_a_share_count_for_canary(harness: GatewayHarness) -> None:
    accept(harness, outcomes=TAKEN)
    harness.promote("digits", 1)
    canary = share(harness, 2, 100)
    answered = answer(harness)
    [result] = told(harness, answered.origin, report_of(answered))
    assert opened(harness, answered.origin, result.entry)["alias"] == "canary"
    [series] = [each for each in shown(harness) if each.alias == "canary"]
    assert (series.version, series.pointer_sequence) == (2, canary.sequence)
    assert series.figures.outcomes == 1


def test_a_class_alone_is_reported_on_too(harness: GatewayHarness) -> None:
    accept(harness, screens={"digits": {"roles": {"client": {"labels_only": True}}}})
    answered = answer(harness, 6)
    [label] = answered.outputs
    assert (label.name, label.datatype) == ("label", "INT64")
    report = report_of(answered, str(label.data[0]))
    improved = replace(answered, outputs=[Tensor.of("label", np.array([9 - label.data[0]]))])
    [refused] = told(harness, answered.origin, report_of(improved, str(label.data[0])))
    assert refused.reason == Reason.OUTCOME_MISMATCH.name
    [result] = told(harness, answered.origin, report)
    said = json.loads(opened(harness, answered.origin, result.entry)["output"])
    assert said["right"] == [True]
    assert said["confidences"] == []
