"""Limits of true outcomes: what passing one alarms, and when it brings the version before back."""

from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sealgate.trust.statements import Pointer, PointerBundle
from tests.support.harness.console import ConsoleHarness
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.outcomes import (
    answer,
    answer_by,
    other_label,
    report_of,
    reporting,
    shown,
    told,
)
from tests.support.harness.policy_changes import accept
from tests.support.harness.rollouts import await_true

LIMITS = {"window_seconds": 600, "minimum_outcomes": 4}
ACCURATE = LIMITS | {"accuracy_percent": 60, "action": "rollback"}
PLACE = ("digits", "production")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with reporting(tmp_path_factory.mktemp("outcomes") / "state") as harness:
        yield harness


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
