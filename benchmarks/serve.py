"""`make bench NAME=serve`: Sealgate with all it does beside servers that only serve, in one run.

Servers run on one core, the load on another. All start first and are frozen (SIGSTOP) but for the
one whose turn it is; turns alternate, in several rounds, so that a machine that drifts takes all
along: the figures that count are ratios within a round.

Each model's figures are kept in build/bench/serve, and all that are there are joined in
results/serve.json, each with the commit that was measured, and drawn in serve-MODEL.svg.
"""

import argparse
import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import charts, governed, raw, served
from benchmarks.contenders import Contender, Setting
from benchmarks.figures import Cell, summary
from benchmarks.load import LoadClient, Plan
from benchmarks.processes import Cores, Server, StartFailed
from benchmarks.report import RESULTS, Target, commit, finish, show
from benchmarks.serve_subjects import SUBJECTS, ServedModel
from benchmarks.serve_targets import OPEN, SAME, best_peer, explained, targets

_FOLDER = Path("build/bench/serve")
IN_FLIGHT = (1, 16, 64, 256)
_FULL = 64
OPEN_SHARE = 0.7
_PROBE_SECONDS = 10.0
_COLORS = ("#c6dbef", "#9ecae1", charts.LIGHT, charts.BLUE)


@dataclass(frozen=True, slots=True)
class Turns:
    """How long things are measured; `search`: whether each peer's best setting is sought."""

    seconds: float
    raw_seconds: float
    grid_seconds: float
    rounds: int
    search: bool


FULL = Turns(seconds=4.0, raw_seconds=1.0, grid_seconds=2.0, rounds=3, search=True)
QUICK = Turns(seconds=0.5, raw_seconds=0.2, grid_seconds=0.5, rounds=2, search=False)


@dataclass(slots=True)
class Entry:
    """One server under measurement, and its cells by what was asked of it."""

    name: str
    setting: Setting
    server: Server
    plan: Plan
    recorded: Any = None
    cells: dict[str, list[Cell]] = field(default_factory=dict)


@dataclass(slots=True)
class Bench:
    """Where and how everything is measured; `notes` has what could not be, and why."""

    folder: Path
    cores: Cores
    client: LoadClient
    pace: Turns
    notes: dict[str, str] = field(default_factory=dict)
    tried: list[dict[str, Any]] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="try it: about twelve minutes")
    parser.add_argument("--model", choices=tuple(SUBJECTS), help="measure this one only")
    arguments = parser.parse_args()
    pace = QUICK if arguments.quick else FULL
    _FOLDER.mkdir(parents=True, exist_ok=True)
    for wanted in [arguments.model] if arguments.model else SUBJECTS:
        found = json.dumps(_measured(wanted, pace), indent=1)
        (_FOLDER / f"{wanted}.json").write_text(found + "\n")
    _join()


def _measured(wanted: str, pace: Turns) -> dict[str, Any]:
    """The measurements of one model's part of the report."""
    cores = Cores.of_this_machine()
    client = LoadClient.build(_FOLDER.parent, cores.client)
    rows: list[dict[str, Any]] = []
    aims: list[Target] = []
    with TemporaryDirectory() as name:
        bench = Bench(Path(name), cores, client, pace)
        subject = SUBJECTS[wanted](bench.folder)
        if isinstance(subject, str):
            bench.notes[wanted] = subject
        else:
            model = subject.model
            entries, alone = measure(bench, subject)
            rows = _rows(model, entries, alone)
            aims = targets({model.name: entries}, {model.name: alone})
    return {
        "commit": commit(),
        "pace": "full" if pace is FULL else "quick",
        "rows": rows,
        "targets": [asdict(aim) for aim in aims],
        "notes": bench.notes,
        "settings_tried": bench.tried,
    }


def _join() -> None:
    """One report of the models that were measured, whenever that was."""
    paths = {name: _FOLDER / f"{name}.json" for name in SUBJECTS}
    parts = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    rows = [row for part in parts.values() for row in part["rows"]]
    columns = ("load", "what", "cpu_ms", "rate", "p50_ms", "p99_ms", "memory_mb", "client_cpu")
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        show(mine, columns, f"{model}: medians (least to most)")
    finish(
        "serve",
        rows,
        [explained(Target(**aim)) for part in parts.values() for aim in part["targets"]],
        {what: why for part in parts.values() for what, why in part["notes"].items()},
        settings_tried=[tried for part in parts.values() for tried in part["settings_tried"]],
        measured={name: [part["commit"], part["pace"]] for name, part in parts.items()},
        missing=sorted(SUBJECTS.keys() - parts),
    )
    for name, part in parts.items():
        if part["rows"]:
            _plot(part["rows"], RESULTS / f"serve-{name}.svg")


def measure(bench: Bench, subject: ServedModel) -> tuple[list[Entry], dict[str, list[Cell]]]:
    """Every entry with its cells, and the cells of ONNX Runtime alone by name."""
    model = subject.model
    alone: dict[str, list[Cell]] = {}
    with ExitStack() as stack:
        entries = [
            entry
            for contender in subject.contenders
            if (entry := _enter(bench, stack, contender, model)) is not None
        ]
        for installed in subject.installed:
            entries.append(_enter_governed(bench, stack, model, installed))
        for place in range(bench.pace.rounds):
            print(f"{model.name}: round {place + 1} of {bench.pace.rounds}", flush=True)
            _raw_round(bench, model, alone)
            _round(bench, entries, max(bench.pace.seconds, subject.least_seconds))
    return entries, alone


def _enter(
    bench: Bench, stack: ExitStack, contender: Contender, model: served.Served
) -> Entry | None:
    """The contender at its best setting, started and frozen; None with a note where it cannot be.

    On a quick try its first setting is as good as any.
    """
    reason = contender.why_missing()
    if reason is None:
        try:
            setting = contender.settings[0]
            if bench.pace.search:
                tried = [_try(bench, contender, model, point) for point in contender.settings]
                bench.tried += tried
                setting = max(tried, key=itemgetter("rate"))["setting"]
            server, plan = contender.start(model, setting, bench.cores.server, bench.folder)
            stack.callback(server.stop)
            _await_answer(bench, plan, server)
            server.freeze()
            return Entry(contender.name, setting, server, plan)
        except StartFailed as error:
            reason = f"does not start: {error}"
    bench.notes[f"{contender.name}, {model.name}"] = reason
    return None


def _enter_governed(
    bench: Bench, stack: ExitStack, model: served.Served, installed: governed.Installed
) -> Entry:
    gateway = stack.enter_context(
        governed.running(installed, model, bench.cores, bench.client, bench.folder)
    )
    gateway.server.freeze()
    setting = {"inputs refused by screening": gateway.refused, "stages": installed.stages()}
    return Entry(installed.name, setting, gateway.server, gateway.plan, gateway.recorded)


def _try(
    bench: Bench, contender: Contender, model: served.Served, setting: Setting
) -> dict[str, Any]:
    """A point of the grid with the rate that it reaches at 64 in flight; 0 where it fails."""
    point: dict[str, Any] = {"what": contender.name, "model": model.name, "setting": setting}
    try:
        server, plan = contender.start(model, setting, bench.cores.server, bench.folder)
    except StartFailed as error:
        return {**point, "rate": 0.0, "failed": str(error)}
    try:
        _await_answer(bench, plan, server)
        wanted = replace(plan, in_flight=_FULL, seconds=bench.pace.grid_seconds)
        cell = bench.client.measure(wanted, server)
        print(f"{model.name}: {contender.name} {dict(setting)}: {cell.rate:,.0f}/s", flush=True)
        return {**point, "rate": cell.rate, "failures": dict(cell.failures)}
    except StartFailed as error:
        return {**point, "rate": 0.0, "failed": str(error)}
    finally:
        server.stop()


def _await_answer(bench: Bench, plan: Plan, server: Server) -> None:
    """Returns once requests are answered: some servers listen before they have loaded the model.

    Raises: StartFailed.
    """
    waited, failures = 0.0, dict[str, int]()
    while waited < _PROBE_SECONDS:
        cell = bench.client.measure(replace(plan, warm=0.0, seconds=0.25), server)
        if cell.ok:
            return
        waited, failures = waited + 0.25, dict(cell.failures)
    raise StartFailed(f"{failures}; {server.last_line()}")


def _round(bench: Bench, entries: list[Entry], seconds: float) -> None:
    for in_flight in IN_FLIGHT:
        for entry in entries:
            plan = replace(entry.plan, in_flight=in_flight, seconds=seconds)
            _turn(bench, entry, f"{in_flight} in flight", plan)
    for entry in entries:
        # Of what this round reached: the machine may be slower than it was in the last.
        rate = OPEN_SHARE * entry.cells[f"{_FULL} in flight"][-1].rate
        plan = replace(entry.plan, in_flight=_FULL, seconds=seconds)
        if rate:
            _turn(bench, entry, OPEN, replace(plan, rate=rate))
    best = best_peer({entry.name: entry for entry in entries})
    for entry in entries:
        # A user who moves from that peer sends as many requests as before.
        if best is not None and entry.recorded is not None:
            rate = OPEN_SHARE * best.cells[f"{_FULL} in flight"][-1].rate
            plan = replace(entry.plan, in_flight=_FULL, seconds=seconds, rate=rate)
            _turn(bench, entry, SAME, plan)


def _turn(bench: Bench, entry: Entry, what: str, plan: Plan) -> None:
    entry.server.thaw()
    try:
        cell = bench.client.measure(plan, entry.server, entry.recorded)
    finally:
        entry.server.freeze()
    entry.cells.setdefault(what, []).append(cell)


def _raw_round(bench: Bench, model: served.Served, alone: dict[str, list[Cell]]) -> None:
    for sessions in raw.SESSIONS:
        cores = {bench.cores.server} if sessions == 1 else {bench.cores.server, bench.cores.client}
        for batch in raw.BATCHES:
            cell = raw.measure(model, batch, sessions, bench.pace.raw_seconds, cores, bench.folder)
            plural = "two sessions on two cores" if sessions == 2 else "one session"
            alone.setdefault(f"{plural}, batch {batch}", []).append(cell)


def _rows(
    model: served.Served, entries: list[Entry], alone: dict[str, list[Cell]]
) -> list[dict[str, Any]]:
    rows = [
        {"model": model.name, "what": "ONNX Runtime alone", "load": load, **summary(cells)}
        for load, cells in alone.items()
    ]
    for load in (*(f"{count} in flight" for count in IN_FLIGHT), OPEN, SAME):
        rows += [
            {
                "model": model.name,
                "what": entry.name,
                "load": load,
                "setting": dict(entry.setting),
                **summary(entry.cells[load]),
            }
            for entry in entries
            if load in entry.cells
        ]
    return rows


def _plot(rows: list[dict[str, Any]], path: Path) -> None:
    """CPU and rate of one model: a group of bars a server, a bar a load."""
    loads = {f"{n} in flight": c for n, c in zip(IN_FLIGHT, _COLORS, strict=True)}
    figures = {"cpu_ms": "server CPU-ms per answer", "rate": "answers per second"}
    with charts.figure(path, 2, 12) as axes:
        for axis, (key, title) in zip(axes, figures.items(), strict=True):
            mine = [row for row in rows if row["load"] in loads]
            names = list(dict.fromkeys(row["what"] for row in mine))
            for place, (load, color) in enumerate(loads.items()):
                found = {row["what"]: row[key] for row in mine if row["load"] == load}
                spots = [names.index(what) + 0.2 * (place - 1.5) for what in found]
                middles = [spread["median"] for spread in found.values()]
                axis.barh(spots, middles, 0.2, color=color, label=load)
            axis.set_yticks(range(len(names)), names)
            axis.invert_yaxis()
            axis.set_title(f"{rows[0]['model']}: {title}", fontsize="medium", loc="left")
            axis.legend(fontsize="small", frameon=False)


if __name__ == "__main__":
    main()
