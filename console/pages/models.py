"""A model: its versions on a time line, its aliases and their moves, and what it is asked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from starlette.responses import Response

from console.display.charts import Bar, Line, bars, lines
from console.reading.proposals import ShownProposal, read_proposal
from console.reading.versions import (
    ALIASES,
    VERDICTS,
    TrafficSeries,
    alias_of,
    begin_health,
    health_word,
    is_screened,
    list_versions,
    newest_pointers,
    series_of,
)
from console.views import View
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name
from sealgate.trust.policy import OutcomeRules
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.outcome_pb2 import GetOutcomesRequest, OutcomeSeries

_VERSIONS = 10
_MOVES = 25
_OPEN = 50
_LATEST_MOVES = 5
_DRIFTED = 3.0
_PROMOTIONS = 3
_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class ModelTraffic:
    """A live version's requests since this gateway loaded it; times in milliseconds."""

    version: str
    rows: int
    answered: int
    failed: int
    latency: float
    queue: float
    verdicts: tuple[tuple[str, int], ...]
    withdrawn: str
    series: TrafficSeries | None


def model(view: View) -> Response:
    name = check_name(view.path("model"))
    # Data that earlier looks did not keep are requested first, and come while the rest is read.
    proposals, traffic, outcomes = _open(view, name), _traffic(view, name), _outcomes(view, name)
    asked = begin_health(view.calls)
    pointers, loaded = newest_pointers(view.calls, [name]), asked()
    aliases = [
        (alias, pointer, health_word(loaded, name, pointer))
        for alias in ALIASES
        for pointer in [pointers.get((name, alias))]
    ]
    latest = _latest(view, name)
    newest = min(int(view.query("from")), latest) if _is_number(view) else latest
    numbers = range(newest, max(0, newest - _VERSIONS), -1)
    versions = list_versions(view.calls, {name: numbers}).get(name, [])
    shown, series = traffic(), outcomes()
    return view.render(
        "model.html",
        model=name,
        latest=latest,
        newest=newest,
        older=newest - _VERSIONS,
        versions=versions,
        unscreened={version.name for version in versions if not is_screened(version)},
        live={pointer.version: alias for alias, pointer, _ in reversed(aliases) if pointer},
        aliases=aliases,
        proposals=proposals(),
        moves=_latest_moves(view, name),
        traffic=shown,
        charts=_charts(shown),
        outcomes=series,
        outcome_charts=outcome_charts(series, name, view.calls.policy.outcomes),
    )


def _latest_moves(view: View, name: str) -> list[tuple[str, messages.Pointer]]:
    """The latest moves of all aliases, newest first."""
    request = messages.ListPointersRequest(name=f"models/{name}/aliases/-", page_size=_LATEST_MOVES)
    found = view.calls.recall("ListPointers", request).pointers
    return [(alias_of(pointer), pointer) for pointer in found]


def _open(view: View, name: str) -> Callable[[], list[ShownProposal]]:
    calls = view.calls
    request = messages.ListProposalsRequest(model=name, filter="state = open", page_size=_OPEN)
    answer = calls.begin(calls.registry.ListProposals, request)

    def read() -> list[ShownProposal]:
        shown = [read_proposal(message, calls.policies) for message in answer().proposals]
        return [each for each in shown if each.state == "open"]

    return read


def _is_number(view: View) -> bool:
    text = view.query("from")
    return text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0


def _latest(view: View, name: str) -> int:
    request = messages.ListModelsRequest(filter=f'name = "models/{name}"', page_size=1)
    found = view.calls.recall("ListModels", request).models
    if not found:
        raise SealgateError(Reason.MODEL_UNKNOWN, name)
    return int(found[0].latest_version)


def _traffic(view: View, name: str) -> Callable[[], list[ModelTraffic]]:
    request = oip.ModelStatisticsRequest(name=name)
    answer = view.calls.begin(view.calls.inference.ModelStatistics, request)

    def read() -> list[ModelTraffic]:
        try:
            return [_read(item) for item in answer().model_stats]
        except SealgateError:
            # Nothing of it is live, or the reader may not know.
            return []

    return read


def _outcomes(view: View, name: str) -> Callable[[], list[OutcomeSeries]]:
    answer = view.calls.begin(view.calls.outcomes.GetOutcomes, GetOutcomesRequest(model=name))

    def read() -> list[OutcomeSeries]:
        try:
            return list(answer().series)
        except SealgateError:
            # The reader may not know, or the gateway is of an earlier release.
            return []

    return read


def _read(item: oip.ModelStatistics) -> ModelTraffic:
    stats = item.inference_stats
    answered = stats.success.count
    per_answer = 1e6 * max(1, answered)
    return ModelTraffic(
        version=item.version,
        rows=item.inference_count,
        answered=answered,
        failed=stats.fail.count,
        latency=stats.success.ns / per_answer,
        queue=stats.queue.ns / (1e6 * max(1, stats.queue.count)),
        verdicts=tuple((verdict, item.verdicts.get(verdict, 0)) for verdict in VERDICTS),
        withdrawn=item.screening_withdrawn,
        series=series_of(item.history),
    )


def _charts(traffic: list[ModelTraffic]) -> list[str]:
    """A chart of each kind, with a bar for each version that is asked."""
    if not any(item.answered or item.failed for item in traffic):
        return []
    asked = [
        Bar(
            f"Version {item.version}",
            (("answered", item.answered), ("failed", item.failed)),
        )
        for item in traffic
    ]
    verdicts = [Bar(f"Version {item.version}", item.verdicts) for item in traffic]
    latency = [
        Bar(
            f"Version {item.version}",
            (
                ("waiting", round(item.queue, 3)),
                ("computing", round(max(0.0, item.latency - item.queue), 3)),
            ),
        )
        for item in traffic
    ]
    return [
        bars("Requests", asked),
        bars("What screening found", verdicts),
        bars("Milliseconds a request, on average", latency),
        *(chart for item in traffic if item.series for chart in _over_time(item, item.series)),
    ]


def _over_time(item: ModelTraffic, series: TrafficSeries) -> Iterator[str]:
    """The charts of one version over the time since this gateway loaded it."""
    of, times = f"version {item.version}", series.times
    yield lines(f"Answers a second, {of}", times, [Line("answered", series.answered)])
    yield lines(f"Milliseconds an answer, {of}", times, [Line("mean", series.milliseconds)])
    yield lines(f"Verdicts a minute, {of}", times, series.verdicts)
    if series.refused:
        yield lines(f"Refused a minute, {of}", times, series.refused)
    if any(value is not None for value in series.drift):
        title = f"Drift as a power of ten, {of}; at {_DRIFTED:g} its bound is withdrawn"
        yield lines(title, times, [Line("evidence", series.drift)], limit=_DRIFTED)


def moves(view: View) -> Response:
    """Every move of an alias, newest first: who, when and why."""
    name, alias = check_name(view.path("model")), check_name(view.path("alias"))
    request = messages.ListPointersRequest(
        name=f"models/{name}/aliases/{alias}", page_size=_MOVES, page_token=view.query("page")
    )
    page = view.calls.recall("ListPointers", request)
    return view.render(
        "moves.html",
        model=name,
        alias=alias,
        pointers=list(page.pointers),
        earlier=_earlier(list(page.pointers)),
        next_page=page.next_page_token,
    )


def _earlier(pointers: list[messages.Pointer]) -> list[int]:
    """The versions that were promoted before the newest move, to which it can be rolled back."""
    live = pointers[0].version if pointers else 0
    found = {p.version: None for p in pointers if p.action == "promote" and p.version != live}
    return list(found)


ROUTES = [
    ("/models/{model}", model, ("GET",)),
    ("/models/{model}/aliases/{alias}", moves, ("GET",)),
]


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
        charts += _charts_of(series, None if least is None else least / 100)
    return charts


def _charts_of(series: OutcomeSeries, least: float | None) -> Iterator[Markup]:
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
