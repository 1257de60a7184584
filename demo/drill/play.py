"""Plays the drill's cases one after another, and measures each."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from demo.drill.alarms import first_alarm
from demo.drill.cases import (
    BadVersion,
    Breakdown,
    DeadEngine,
    DriftedTraffic,
    FullDisk,
    Incident,
    SlowVersion,
)
from demo.drill.site import DrillSite, site
from demo.drill.timing import MOST_SECONDS, CaseResult, recovered_at
from demo.drill.traffic import lost_answers
from demo.stage import Stage, StepFailed

NAMES = ("bad", "drift", "slow", "engine", "disk")
_SETTLED = 40
_QUIET_SECONDS = 3.0


def play(state: Path, only: Sequence[str] = NAMES) -> Iterator[CaseResult]:
    """The result of each case, as it comes, with an installation in the new folder `state`.

    `only` are some of NAMES. Raises: StepFailed where the installation cannot be made.
    """
    stage = Stage(state)
    stage.title("Setting up: a gateway with an engine of its own, callers, and who watches them")
    with site(stage) as made:
        every: dict[str, Breakdown] = {
            "bad": BadVersion(),
            "drift": DriftedTraffic(),
            "slow": SlowVersion(),
            "engine": DeadEngine(),
            "disk": FullDisk(made.disk.words),
        }
        for number, name in enumerate(only, 1):
            stage.title(f"{number}. {every[name].name.capitalize()}: {every[name].broken_by}")
            yield play_case(made, every[name])


def play_case(site: DrillSite, case: Breakdown) -> CaseResult:
    """Break, wait for the alarm, recover, explain, and look for each answer in the log."""
    result = CaseResult(case.name, case.broken_by)
    started = broken = time.monotonic()
    try:
        case.prepare(site)
        # Traces of the case before must raise no alarm of this one.
        time.sleep(_QUIET_SECONDS)
        broken = time.monotonic()
        incident = Incident(broken, datetime.now(UTC))
        case.break_(site)
        result = _detected(site, incident, result)
        result = _ended(site, case, incident, result)
        result = _explained(site, case, incident, result)
    except StepFailed as error:
        site.stage.note(f"FAILED: {error}")
    return _counted(site, started, broken, result)


def _detected(site: DrillSite, incident: Incident, result: CaseResult) -> CaseResult:
    """With the first alarm, which the incident gets too. Raises: StepFailed."""
    alarm = incident.alarm = first_alarm(site.alarms, incident.began, MOST_SECONDS)
    if alarm is None:
        raise StepFailed(f"no alarm within {MOST_SECONDS:.0f} seconds")
    took = alarm.at - incident.began
    site.stage.note(f"detected after {took:.1f} s by {alarm.source}: {alarm.detail}")
    return replace(result, detected_by=alarm.source, detect=took)


def _ended(site: DrillSite, case: Breakdown, incident: Incident, result: CaseResult) -> CaseResult:
    """With how it ended. Raises: StepFailed."""
    since = incident.began + (result.detect or 0.0)
    recovered_by = case.recover(site, incident)
    _settle(site, case, since)
    at = recovered_at(site.traffic.since(incident.began), since, partial(case.good, site))
    if at is None:
        raise StepFailed("callers got no good answers again")
    took = at - since
    site.stage.note(f"good answers again {took:.1f} s after the alarm: {recovered_by}")
    return replace(result, recovered_by=recovered_by, recover=took)


def _settle(site: DrillSite, case: Breakdown, since: float) -> None:
    """Wait until the newest answers are good for a while, or for MOST_SECONDS."""
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        newest = [item for item in site.traffic.since(since) if not item.withheld][-_SETTLED:]
        if len(newest) == _SETTLED and all(case.good(site, item) for item in newest):
            return
        time.sleep(_LOOK)


def _explained(
    site: DrillSite, case: Breakdown, incident: Incident, result: CaseResult
) -> CaseResult:
    """With what explained it. Raises: StepFailed."""
    began = time.monotonic()
    command, said = case.explain(site, incident)
    took = time.monotonic() - began
    site.stage.note(f"explained after {took:.1f} s: {said}")
    return replace(result, explained_by=f"sealgate {command}", explain=took)


def _counted(site: DrillSite, started: float, broken: float, result: CaseResult) -> CaseResult:
    """With the answers since the case started, those lost, and refusals since the break."""
    answers = [item for item in site.traffic.since(started) if item.answered]
    asked = site.traffic.since(broken)
    reasons = Counter(a.reason.name for a in asked if a.reason is not None and not a.withheld)
    lost = lost_answers(site.stage.profile("auditor"), answers)
    told = ", ".join(f"{count} refused ({name})" for name, count in sorted(reasons.items()))
    site.stage.note(f"{len(answers)} answers meanwhile, {lost} lost; {told or 'nothing refused'}")
    return replace(result, answers=len(answers), lost=lost, refused=reasons.total())


_LOOK = 0.05
