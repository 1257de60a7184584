"""The five breakdowns of the drill, each with what ends it and what explains it afterwards."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import numpy as np

from demo.drill import versions
from demo.drill.alarms import SeenAlarm, first_alarm, read_metrics, rule_values
from demo.drill.site import CANARY, DrillSite
from demo.drill.timing import MOST_SECONDS, DrillRequest, median_ms
from demo.drill.traffic import MODEL
from demo.materials import MODELS
from demo.stage import StepFailed
from sealgate.reasons import Reason
from sealgate.trust.times import format_micros, format_time


@dataclass(slots=True)
class Incident:
    """A breakdown under way: when it began, by the steady clock and by the calendar, and what the
    first alarm was.
    """

    began: float
    time: datetime
    alarm: SeenAlarm | None = None


class Breakdown(Protocol):
    """One breakdown. `name` and `broken_by` are for the table.

    `prepare` does what people did before anything was wrong. `recover` does what an operator does
    after the alarm, if the product does not act by itself, and returns how the breakdown ends.
    `good` tells the answers of which nobody complains. `explain` runs the audit command, and
    returns it with what it says. All raise StepFailed.
    """

    name: str
    broken_by: str

    def prepare(self, site: DrillSite) -> None: ...

    def break_(self, site: DrillSite) -> None: ...

    def recover(self, site: DrillSite, incident: Incident) -> str: ...

    def good(self, site: DrillSite, asked: DrillRequest) -> bool: ...

    def explain(self, site: DrillSite, incident: Incident) -> tuple[str, str]: ...


class BadVersion:
    """A version that was trained and tested on labels that a mistake had shifted by one."""

    name = "bad version"
    broken_by = "a version trained on wrong labels, approved by mistake"

    def __init__(self) -> None:
        self._version, self._proposal = 0, ""

    def prepare(self, site: DrillSite) -> None:
        made = versions.mislabelled(site.stage.state)
        self._version = site.publish(made.model, made.data, *_OPTIONS)
        self._proposal = site.approved(self._version, meaning="its tests passed")

    def break_(self, site: DrillSite) -> None:
        site.promote(self._proposal, "quarterly release")

    def recover(self, site: DrillSite, incident: Incident) -> str:
        words = ("model", "rollback", MODEL, str(site.good), "--reason", "wrong answers")
        site.stage.command(*words, person="admin")
        return "sealgate model rollback"

    def good(self, site: DrillSite, asked: DrillRequest) -> bool:
        return asked.version == site.good

    def explain(self, site: DrillSite, incident: Incident) -> tuple[str, str]:
        asked = site.traffic.since(incident.began)
        wrong = next((a for a in asked if a.version == self._version and not a.right), None)
        if wrong is None:
            raise StepFailed("nobody got a wrong answer")
        path = site.stage.state / "wrong.json"
        path.write_bytes(wrong.receipt)
        words = ("audit", "decision", str(path), "--wait", str(_ANCHOR_SECONDS), "--json")
        steps = site.stage.command(*words, person="auditor")
        said = [step["what"] for step in steps if step["step"] in ("pointer", "approvals")]
        return "audit decision", "; ".join(said)


class SlowVersion:
    """An accurate version of 200 layers, which answers a share of production's requests."""

    name = "slow version"
    broken_by = "a canary of 200 layers for half of the requests"

    def __init__(self) -> None:
        self._proposal = ""
        self._live_at = datetime.now(UTC)

    def prepare(self, site: DrillSite) -> None:
        known = site.approved(site.good, "--alias", CANARY, "--share", "10")
        site.promote(known, "the canary that became production")
        made = versions.slow(site.stage.state)
        version = site.publish(made.model, made.data, "--without-screening", *_OPTIONS)
        options = ("--alias", CANARY, "--share", "50")
        self._proposal = site.approved(version, *options, meaning="accurate")

    def break_(self, site: DrillSite) -> None:
        site.promote(self._proposal, "more accurate")
        self._live_at = datetime.now(UTC)

    def recover(self, site: DrillSite, incident: Incident) -> str:
        asked = site.traffic.since(incident.began)
        good, late = (
            median_ms([a for a in asked if self.good(site, a) is known]) for known in (True, False)
        )
        site.stage.note(
            f"an answer took {late:.0f} ms by the canary, and {good:.0f} ms by the version before "
            "(medians, as callers saw them)"
        )
        return "the gateway itself (automatic rollback)"

    def good(self, site: DrillSite, asked: DrillRequest) -> bool:
        return asked.version == site.good

    def explain(self, site: DrillSite, incident: Incident) -> tuple[str, str]:
        words = ("audit", "as-of", format_time(self._live_at), MODEL, "--json")
        found = site.stage.command(*words, person="auditor")
        live = next((each for each in found if each["alias"] == CANARY), None)
        if live is None:
            raise StepFailed("no canary was live")
        said = (
            f"{MODEL}/{CANARY} named version {live['version']} from {live['since']}, promoted by "
            f"{live['admin']} (entry {live['entry']})"
        )
        return "audit as-of", said


class DriftedTraffic:
    """The scanner's lamp wears out: every row comes with grain. People calibrate anew for it."""

    name = "drifted traffic"
    broken_by = "every input comes with grain, as of a worn scanner"

    def prepare(self, site: DrillSite) -> None:
        pass

    def break_(self, site: DrillSite) -> None:
        draw = np.random.default_rng(0)
        site.traffic.change = lambda row: versions.grainy(row, draw)

    def recover(self, site: DrillSite, incident: Incident) -> str:
        data = versions.grainy_data(site.stage.state)
        version = site.publish(MODELS / "digits-standard", data)
        site.promote(site.approved(version), "calibrated for the worn scanner")
        site.good = version
        calibrated = partial(self.good, site)
        if not site.traffic.wait(calibrated, time.monotonic(), _ENOUGH, MOST_SECONDS):
            raise StepFailed(f"version {version} does not answer")
        if rule_values(read_metrics(site.metrics_port)())["SealgateScreeningWithdrawn"]:
            raise StepFailed("traffic is not as it was calibrated for either")
        return "a version calibrated on such rows"

    def good(self, site: DrillSite, asked: DrillRequest) -> bool:
        return asked.version == site.good

    def explain(self, site: DrillSite, incident: Incident) -> tuple[str, str]:
        event = first_alarm([site.webhooks], incident.began, _ANCHOR_SECONDS)
        if event is None:
            raise StepFailed("no event told of it")
        file = str(site.stage.state / "drift.cose")
        words = ("audit", "show", "registry", str(event.index), "--statement", file, "--json")
        entry = site.stage.command(*words, person="auditor")
        found = entry["body"]["finding"]
        said = (
            f"entry {event.index} of the registry's log, by the gateway: among "
            f"{found['distinct']} different rows, traffic is no longer as {entry['subject']} was "
            f"calibrated for (callers: {found['callers']}, the busiest sent "
            f"{found['busiest_caller_percent']}%)"
        )
        return "audit show", said


class DeadEngine:
    """The engine's process is killed; a supervisor starts it again, as systemd does."""

    name = "dead engine"
    broken_by = "SIGKILL to the engine's process"

    def prepare(self, site: DrillSite) -> None:
        pass

    def break_(self, site: DrillSite) -> None:
        site.stage.say(f"kill -9 {site.engine.kill()}")

    def recover(self, site: DrillSite, incident: Incident) -> str:
        return "the supervisor starts it again"

    def good(self, site: DrillSite, asked: DrillRequest) -> bool:
        return asked.answered

    def explain(self, site: DrillSite, incident: Incident) -> tuple[str, str]:
        since = ("--since", format_micros(incident.time))
        words = ("audit", "find", "--outcome", "ENGINE_UNAVAILABLE", *since, "--limit", "10000")
        found = site.stage.command(*words, "--json", person="auditor")["decisions"]
        if not found:
            raise StepFailed("the log has no refusal for want of the engine")
        times = sorted(each["time"] for each in found)
        callers = sorted({each["principal"] for each in found})
        said = f"{len(found)} refusals ENGINE_UNAVAILABLE to {', '.join(callers)}"
        return "audit find", f"{said}, from {times[0]} to {times[-1]}"


class FullDisk:
    """The answer log finds no room: nothing is answered that cannot be recorded."""

    name = "full disk"

    def __init__(self, broken_by: str) -> None:
        self.broken_by = broken_by

    def prepare(self, site: DrillSite) -> None:
        pass

    def break_(self, site: DrillSite) -> None:
        site.disk.fill()

    def recover(self, site: DrillSite, incident: Incident) -> str:
        asked = site.traffic.since(incident.began)
        first = min((a.sent for a in asked if a.reason is Reason.RECORD_FAILED), default=_LATER)
        answers = sum(a.answered for a in asked if a.sent > first)
        site.stage.note(f"{answers} answers since the disk is full: what has no record is refused")
        site.disk.clear()
        return "room is made; nothing is restarted"

    def good(self, site: DrillSite, asked: DrillRequest) -> bool:
        return asked.answered

    def explain(self, site: DrillSite, incident: Incident) -> tuple[str, str]:
        words = ("audit", "verify", "--wait", str(_ANCHOR_SECONDS), "--json")
        logs = site.stage.command(*words, person="auditor")
        broken = [log["log"] for log in logs if log["found"] != "intact"]
        if broken:
            raise StepFailed(f"not intact: {', '.join(broken)}")
        return "audit verify", "; ".join(
            f"{x['log']}: {x['entries']} entries, intact" for x in logs
        )


_OPTIONS = (
    *("--name", MODEL, "--domain", "0,1"),
    *("--labels", ",".join(map(str, range(versions.LABELS)))),
)
_ANCHOR_SECONDS = 30
_ENOUGH = 100
_LATER = float("inf")
