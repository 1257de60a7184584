"""Reports of true outcomes: what is refused and why, what is recorded, and what it says."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sealgate.reasons import Reason
from sealgate.tensors import Tensor
from sealgate.trust.policy.rights import ACTION_ROLES
from sealgate.trust.receipts import Receipt
from sealgate.trust.statements import Pointer, PointerBundle
from sealgate.v1 import log_pb2
from sealgate.v1 import outcome_pb2 as messages
from tests.support.harness.console import ConsoleHarness
from tests.support.harness.gateway import GatewayHarness, refusal, running
from tests.support.harness.outcomes import (
    TAKEN,
    Answered,
    answer,
    answer_by,
    other_label,
    outcomes,
    report_of,
    shown,
    told,
)
from tests.support.harness.policy_changes import accept, change, person
from tests.support.harness.rollouts import await_true, share, with_guard

LIMITS = {"window_seconds": 600, "minimum_outcomes": 4}
ACCURATE = LIMITS | {"accuracy_percent": 60, "action": "rollback"}
PLACE = ("digits", "production")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    state = tmp_path_factory.mktemp("outcomes") / "state"
    with running(state, "digits-1", "digits-2") as harness:
        harness.promote("digits", 1)
        with (state / "gateway.toml").open("a") as settings:
            settings.write('\n[metrics]\nlisten = "127.0.0.1:0"\n')
        with_guard(harness, production={"error_percent": 100})
        accept(harness, outcomes=TAKEN)
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
        # What is no answer of a model belongs to somebody too.
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


def report(harness: GatewayHarness, right: bool, count: int, **groups: str) -> None:
    """Ask about some rows and report them, as they were answered or not, in one batch."""
    stub = harness.inference()
    answers = [answer_by(stub, number) for number in range(count)]
    reports = [
        report_of(a, a.classes[0] if right else other_label(a.classes[0]), groups=groups)
        for a in answers
    ]
    assert {each.reason for each in told(harness, answers[0].origin, *reports)} == {""}


def newest_move(harness: GatewayHarness) -> Pointer:
    move = next(iter(harness.governance("auditor").moves("digits", "production")))
    return Pointer.decode(PointerBundle.decode(move.bundle).pointer.payload)


def alarms(harness: GatewayHarness) -> list[dict[str, str]]:
    size = harness.gateway.recorder.size
    found = harness.gateway.recorder.search(0, size, (), {"outcome": "alarmed"})
    receipts = [receipt for each in found for receipt in each.receipts]
    return [{name: value for name, (_, value) in r.opened.items()} for r in receipts]


def scraped(harness: GatewayHarness, name: str, **labels: str) -> float:
    """The value of a series of the gateway's metrics; 0 where there is none."""
    connection = HTTPConnection("127.0.0.1", harness.gateway.ports["metrics"], timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if (sample.name, sample.labels) == (f"sealgate_{name}", labels)
    ]
    return float(sum(found))


def limited(harness: GatewayHarness, limits: dict[str, Any], **rules: Any) -> None:
    accept(harness, outcomes={"digits": {"aliases": {"production": limits}, **rules}})


def test_outcomes_that_are_wrong_bring_the_version_before_back(harness: GatewayHarness) -> None:
    limited(harness, ACCURATE)
    harness.promote("digits", 2)
    report(harness, right=True, count=4)
    # So many are enough, and none is passed.
    assert shown(harness)[0].finding == ""
    report(harness, right=False, count=4)
    harness.await_version("digits", 1)
    move = newest_move(harness)
    finding = "right: 50.0 % of 8 outcomes in 600 s, limit 60 %"
    assert (move.action, move.version) == ("rollback", 1)
    assert move.reason == f"automatic: {finding}"
    [alarm] = [each for each in alarms(harness) if each["version"] == "2"]
    assert (alarm["output"], alarm["alias"], alarm["principal"]) == (
        finding,
        "production",
        "gateway",
    )
    # Those of this promotion count alone.
    assert [each.figures.outcomes for each in shown(harness)][:2] == [0, 8]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"ece_percent": 5}, "calibration error: "),
        ({"group_gap_percent": 50}, "errors differ by 100.0 % between groups of age, of "),
    ],
)
def test_an_alarm_leaves_the_version(
    harness: GatewayHarness, caplog: pytest.LogCaptureFixture, limits: dict[str, int], words: str
) -> None:
    limited(harness, LIMITS | limits | {"action": "alarm"}, groups={"age": ["young", "old"]})
    version = 3 - harness.gateway.engine.live()[PLACE].version
    harness.promote("digits", version)
    live = harness.gateway.engine.live()[PLACE]
    report(harness, right=False, count=4, age="old")
    report(harness, right=True, count=4, age="young")
    await_true(lambda: words in str(harness.gateway.outcomes.passed.get(PLACE)))
    await_true(lambda: words in alarms(harness)[-1]["output"])
    assert "passes a limit of the policy" in caplog.text
    labels = {"model": "digits", "alias": "production"}
    assert scraped(harness, "outcome_limit_passed", **labels) == 1
    assert scraped(harness, "outcomes", **labels, version=str(version)) == 8
    assert scraped(harness, "outcome_accuracy", **labels, version=str(version)) == 0.5
    assert scraped(harness, "outcome_calibration_error", **labels, version=str(version)) > 0.05
    assert scraped(harness, "outcome_reports_total", reason="") >= 8
    assert scraped(harness, "outcome_reports_total", reason="OUTCOME_GROUP") == 0
    assert words in shown(harness)[0].finding
    assert harness.gateway.engine.live()[PLACE].pointer == live.pointer


def test_a_column_that_drifts_alarms(harness: GatewayHarness) -> None:
    """The same row again and again is nothing like the calibration rows."""
    limited(harness, LIMITS | {"psi_percent": 20, "action": "alarm"})
    version = 3 - harness.gateway.engine.live()[PLACE].version
    harness.promote("digits", version)
    for _ in range(4):
        answer(harness)
    await_true(lambda: str(harness.gateway.outcomes.passed.get(PLACE)).startswith("column x["))
    [series] = [each for each in shown(harness) if each.finding]
    assert series.version == version
    assert [series.columns[0].rows, len(series.columns)] == [4, 32]
    assert series.columns[0].psi > 0.2
    labels = {"model": "digits", "alias": "production", "version": str(version)}
    assert scraped(harness, "column_psi", **labels) == series.columns[0].psi


def test_the_console_draws_what_is_known(harness: GatewayHarness) -> None:
    page = ConsoleHarness(harness).signed_in("auditor").get("/models/digits")
    assert page.status_code == 200
    assert len(page.content) < 100_000
    for words in ("limit passed", "Share of right answers by", "Right answers by confidence"):
        assert words in page.text
    assert "Columns furthest from calibration by 4 rows (PSI)" in page.text


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
