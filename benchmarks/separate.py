"""`make bench NAME=separate`: what an engine in a process of its own costs, under load.

The demo's digits behind the native transport: in the gateway's process, and in an engine behind a
unix socket. Gateway and engine share one core, the load has another; who is not measured is frozen,
and turns alternate. `--against FOLDER` measures another checkout as well, in the same rounds.
Prints a table; writes results/separate.json.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import governed, served
from benchmarks.figures import Cell, ratio, summary
from benchmarks.load import LoadClient, Plan
from benchmarks.processes import Cores, Server, ServerGroup, cpu_seconds
from benchmarks.report import Target, finish, show
from demo.materials import DATA, MODELS
from demo.stage import Stage, free_ports

IN_FLIGHT = (1, 16, 64, 256)
HERE, SEPARATE = "in the gateway", "separate engine"
_ENGINE_START = "listening: "


@dataclass(slots=True)
class MeasuredSetup:
    """A measured setup, with its cells by load; `engine` has the engine's share of the CPU."""

    name: str
    servers: ServerGroup
    plan: Plan
    cells: dict[int, list[Cell]] = field(default_factory=dict)
    engine: dict[int, list[float]] = field(default_factory=dict)

    def measure(self, client: LoadClient, in_flight: int, seconds: float) -> None:
        self.servers.thaw()
        before, engines = self.servers.ticks(), self.servers.processes[1:]
        engine = [each.ticks() for each in engines]
        plan = replace(self.plan, in_flight=in_flight, seconds=seconds)
        cell = client.measure(plan, self.servers)
        used = cpu_seconds(before, self.servers.ticks())
        theirs = sum(cpu_seconds(b, each.ticks()) for b, each in zip(engine, engines, strict=True))
        self.servers.freeze()
        self.cells.setdefault(in_flight, []).append(cell)
        self.engine.setdefault(in_flight, []).append(theirs / used if used else 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout, such as the one before")
    options = parser.parse_args()
    cores = Cores.of_this_machine()
    client = LoadClient.build(Path("build/bench"), cores.client)
    places: dict[str, tuple[bool, Path | None]] = {HERE: (False, None), SEPARATE: (True, None)}
    if options.against is not None:
        places[f"{SEPARATE}, {options.against.name}"] = (True, options.against.resolve())
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        subjects = [
            stack.enter_context(_running(what, *place, cores, client, folder))
            for what, place in places.items()
        ]
        for place in range(options.rounds):
            print(f"round {place + 1} of {options.rounds}", flush=True)
            for in_flight in IN_FLIGHT:
                for subject in subjects:
                    subject.measure(client, in_flight, options.seconds)
    rows = [_row(subject, in_flight) for in_flight in IN_FLIGHT for subject in subjects]
    show(rows, ("in_flight", "what", "rate", "cpu_ms", "engine_share", "p50_ms", "p99_ms"))
    finish("separate", rows, _targets(*subjects[:2]))


@contextmanager
def _running(
    what: str,
    is_separate: bool,
    code: Path | None,
    cores: Cores,
    client: LoadClient,
    folder: Path,
) -> Iterator[MeasuredSetup]:
    """An installation that has the digits in production, frozen."""
    state = folder / what.replace(" ", "-").replace(",", "")
    stage = Stage(state)
    words = ["init", "--unencrypted-keys", "--port", str(free_ports())]
    stage.command(*words, *(["--separate-engine"] if is_separate else []))
    environment = {} if code is None else {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
    with ExitStack() as stack:
        engines = []
        if is_separate:
            engines.append(_engine(state, cores.server, environment))
            stack.callback(engines[0].stop)
        with governed.started(stage):
            governed.promote(stage, MODELS / "digits-standard", DATA / "digits.safetensors")
            shown = stage.command("model", "show", "digits", "1", "--json", person="auditor")
        installed = governed.Installed(state.name, "digits", stage, True, shown)
        model = served.digits(installed.graph(), folder)
        gateway = stack.enter_context(
            governed.running(installed, model, cores, client, folder, environment)
        )
        subject = MeasuredSetup(what, ServerGroup((gateway.server, *engines)), gateway.plan)
        subject.servers.freeze()
        yield subject


def _engine(state: Path, core: int, environment: Mapping[str, str]) -> Server:
    words = [sys.executable, "-m", "sealgate.cli.main", "serve", "engine"]
    log = state / "engine.log"
    server = Server(
        [*words, "--config", str(state / "engine.toml")],
        core,
        log,
        {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment},
    )
    server.await_line(_ENGINE_START)
    return server


def _row(subject: MeasuredSetup, in_flight: int) -> dict[str, Any]:
    share = sum(subject.engine[in_flight]) / len(subject.engine[in_flight])
    found = summary(subject.cells[in_flight])
    return {"in_flight": in_flight, "what": subject.name, "engine_share": round(share, 2), **found}


def _targets(here: MeasuredSetup, separate: MeasuredSetup) -> list[Target]:
    def rates(subject: MeasuredSetup) -> list[float]:
        return [cell.rate for cell in subject.cells[64]]

    found = ratio(rates(separate), rates(here)).median
    name = "separate engine on the gateway's core over the gateway alone, rate at 64 in flight"
    return [Target(name, found, 0.5, least=True)]


if __name__ == "__main__":
    main()
