"""Charts of reported outcomes and of drift by column."""

from console.pages.models import outcome_charts
from sealgate.trust.policy.health_limits import ModelOutcomes, OutcomeLimits, OutcomeRules
from sealgate.v1 import outcome_pb2 as messages

SERIES = messages.OutcomeSeries(
    alias="production",
    version=2,
    figures=messages.OutcomeFigures(outcomes=40, accuracy=0.75, ece=0.15),
    points=[
        messages.OutcomePoint(time=1_000_000, outcomes=20, accuracy=0.5),
        messages.OutcomePoint(time=2_000_000, outcomes=20, accuracy=1.0),
    ],
    bins=[messages.CalibrationBin(lower=0.9, outcomes=40, confidence=0.9, accuracy=0.75)],
    groups=[messages.GroupFigures(attribute="age", group="<old>", outcomes=40, error=0.25)],
    columns=[messages.ColumnDrift(column="income", rows=90, psi=0.31, ks=0.2)],
)


def test_each_thing_that_is_known_has_a_chart_that_is_read_out() -> None:
    limits = OutcomeLimits(60, 10, "alarm", accuracy_percent=60)
    rules = OutcomeRules({"digits": ModelOutcomes({}, {"production": limits})})
    told = [str(chart) for chart in outcome_charts([SERIES], "digits", rules)]
    assert len(told) == 4
    assert "Share of right answers by 40 outcomes, version 2, production. right: 1 at" in told[0]
    assert 'class="limit"' in told[0]
    assert "90% sure, of 40: 75" in told[1]
    assert "&lt;old&gt;" in told[2]
    assert "income: 0.31 PSI" in told[3]
    assert 'class="limit"' not in str(outcome_charts([SERIES], "digits", None)[0])


def test_nothing_known_has_no_chart_and_the_newest_promotions_alone_are_drawn() -> None:
    assert outcome_charts([messages.OutcomeSeries(alias="canary")], "digits", None) == []
    assert len(outcome_charts([SERIES] * 5, "digits", None)) == 12
