"""Charts of what was reported of a model's answers, and how far its columns have drifted."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from console.display.charts import Bar, Line, bars, lines
from sealgate.trust.policy.outcome_rules import OutcomeRules
from sealgate.v1.outcome_pb2 import OutcomeSeries

_PROMOTIONS = 3
_COLUMNS = 8


def outcome_charts(
    found: Sequence[OutcomeSeries], model: str, rules: OutcomeRules | None
) -> list[Markup]:
    """The charts of the newest promotions of which something is known."""
    known = [each for each in found if each.figures.outcomes or each.columns]
    taken = rules.of(model) if rules else None
    charts: list[Markup] = []
    for series in known[:_PROMOTIONS]:
        limits = taken.aliases.get(series.alias) if taken else None
        least = limits.accuracy_percent if limits else None
        charts += _charts(series, None if least is None else least / 100)
    return charts


def _charts(series: OutcomeSeries, least: float | None) -> Iterator[Markup]:
    of = f"version {series.version}, {series.alias or 'by number'}"
    count = series.figures.outcomes
    if count:
        times = [point.time / 1e3 for point in series.points]
        right = tuple(point.accuracy for point in series.points)
        yield lines(
            f"Share of right answers by {count} outcomes, {of}",
            times,
            [Line("right", right)],
            least,
        )
    if series.bins:
        sure = [
            Bar(f"{each.confidence:.0%} sure, of {each.outcomes}", (("right", each.accuracy),))
            for each in series.bins
        ]
        error = f"{series.figures.ece:.1%}"
        yield bars(f"Right answers by confidence, {of}: off by {error}", sure, shares=True)
    if series.groups:
        errors = [
            Bar(f"{each.attribute}: {each.group}", (("wrong", each.error),))
            for each in series.groups
        ]
        yield bars(f"Wrong answers by group, {of}", errors, shares=True)
    if series.columns:
        drifts = [Bar(each.column, (("PSI", each.psi),)) for each in series.columns[:_COLUMNS]]
        rows = series.columns[0].rows
        yield bars(f"Columns furthest from calibration by {rows} rows (PSI), {of}", drifts)
