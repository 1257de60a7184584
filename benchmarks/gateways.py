"""`make bench NAME=gateways`: what a second core is worth, with a second gateway on the same port.

The demo's digits behind one gateway, and behind two that share an address and a registry, each on
a core and with an answer log of its own. The load has the last core. On a machine with two cores it
shares that with the second gateway, so that two cannot be worth twice one. Turns alternate. Prints
a table; writes results/gateways.json.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import governed, served
from benchmarks.figures import Cell, ratio, summary
from benchmarks.load import LoadClient, Plan
from benchmarks.processes import Cores, Server, ServerGroup
from benchmarks.report import Target, finish, show
from demo.stage import Stage, free_ports
from gateway.config.document import GatewayConfig
from sealgate.setup.installation import Installation, Ports
from tests.support.harness.processes.second_gateway import SecondGateway

# For each gateway. The kernel shares connections out by chance, so there are many.
_IN_FLIGHT = (16, 64)
_CONNECTIONS = 64
_SHARED = ", the second shared with the load"
_WHY = "the machine has two cores, of which the load takes a part"


@dataclass(slots=True)
class GatewayGroup:
    """One gateway or two, with their cells by what is in flight for each."""

    servers: ServerGroup
    plan: Plan
    cells: dict[int, list[Cell]] = field(default_factory=dict)

    def measure(self, client: LoadClient, in_flight: int, seconds: float) -> None:
        count = len(self.servers.processes)
        plan = replace(
            self.plan, in_flight=count * in_flight, connections=_CONNECTIONS, seconds=seconds
        )
        self.servers.thaw()
        try:
            self.cells.setdefault(in_flight, []).append(client.measure(plan, self.servers))
        finally:
            self.servers.freeze()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cores = Cores.of_this_machine()
    client = LoadClient.build(Path("build/bench"), cores.client)
    with TemporaryDirectory() as name, ExitStack() as stack:
        subjects = [
            stack.enter_context(_running(Path(name) / str(count), count, cores, client))
            for count in (1, 2)
        ]
        for place in range(options.rounds):
            print(f"round {place + 1} of {options.rounds}", flush=True)
            for in_flight in _IN_FLIGHT:
                for subject in subjects:
                    subject.measure(client, in_flight, options.seconds)
    one, two = subjects
    rows = [
        {"in_flight_each": in_flight, "gateways": count, **summary(subject.cells[in_flight])}
        for in_flight in _IN_FLIGHT
        for count, subject in enumerate(subjects, 1)
    ]
    show(rows, ("in_flight_each", "gateways", "rate", "cpu_ms", "p50_ms", "p99_ms", "client_cpu"))
    rates = [[cell.rate for cell in subject.cells[64]] for subject in (two, one)]
    shared = cores.count < 3
    name = f"two cores over one, 64 in flight each{_SHARED if shared else ''}"
    aim = Target(name, ratio(*rates).median, 1.8, least=True)
    finish("gateways", rows, [aim.unless_met({name: _WHY} if shared else {})])


@contextmanager
def _running(folder: Path, count: int, cores: Cores, client: LoadClient) -> Iterator[GatewayGroup]:
    """An installation that has the digits in production, and its gateways, frozen."""
    folder.mkdir()
    stage, second = _installation(folder / "state", count)
    with governed.started(stage):
        governed.promote(stage)
        shown = stage.command("model", "show", "digits", "1", "--json", person="auditor")
    installed = governed.Installed(f"{count}", "digits", stage, True, shown)
    model = served.digits(installed.graph(), folder)
    with ExitStack() as stack:
        gateway = stack.enter_context(governed.running(installed, model, cores, client, folder))
        servers = [gateway.server]
        if second is not None:
            servers.append(_second(stage, second, cores.second, folder / "second.log"))
            stack.callback(servers[1].stop)
        subject = GatewayGroup(ServerGroup(tuple(servers)), gateway.plan)
        subject.servers.freeze()
        yield subject


def _installation(state: Path, count: int) -> tuple[Stage, Path | None]:
    """An installation, and the configuration of a second gateway on the first one's address."""
    stage, port = Stage(state), free_ports()
    Installation(state, "house", datetime.now(UTC), Ports(port, port + 1), passphrase=None).make()
    if count == 1:
        return stage, None
    configuration = state / "gateway.toml"
    text = configuration.read_text().replace("[listen]\n", "[listen]\nshare_ports = true\n", 1)
    configuration.write_text(text)
    second = SecondGateway(stage)
    own = GatewayConfig.read(second.config).listen
    first = GatewayConfig.read(configuration).listen
    text = second.config.read_text().replace(own.mutual, first.mutual)
    second.config.write_text(text.replace(own.tls, first.tls))
    second.name_in_first_policy()
    return stage, second.config


def _second(stage: Stage, configuration: Path, core: int, log: Path) -> Server:
    words = [sys.executable, "-m", "sealgate.cli.main", "--state", str(stage.state), "serve"]
    server = Server(
        [*words, "--config", str(configuration)],
        core,
        log,
        {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )
    server.await_line("listening: mutual")
    return server


if __name__ == "__main__":
    main()
