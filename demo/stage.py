"""The demo's stage: runs the real command line and a real gateway, and keeps what held."""

import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import sealgate
from console.config import ConsoleConfig
from sealgate.client.client import Client, options_of
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import Profile, connect

_START_SECONDS = 120
# From a place of its own, so that processes seldom meet, once round.
_PORTS = range(16384, 32766, 2)
_START = secrets.randbelow(len(_PORTS))
_pairs = iter([*_PORTS[_START:], *_PORTS[:_START]])
_reserved: list[socket.socket] = []


class StepFailed(Exception):
    """A step that everything after it needs did not go through."""


@dataclass(frozen=True, slots=True)
class Result:
    step: str
    found: str
    held: bool


def free_ports() -> int:
    """A port of loopback that is free together with its successor.

    It is below those that Linux gives to connections (from 32768 on), which might take it before
    whoever asks listens there; and a pair is given once, as who was given it before may listen
    there again: by a process ever, and by others on Linux while that one runs.
    """
    for port in _pairs:
        if not _reserve(port):
            continue
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise StepFailed("no two ports of loopback are free")


def _reserve(port: int) -> bool:
    """Whether no other process was given the port; from now on this one was."""
    if sys.platform != "linux":
        return True
    name = socket.socket(socket.AF_UNIX)
    try:
        # In no folder, and gone with the process.
        name.bind(f"\0sealgate-port-{port}")
    except OSError:
        name.close()
        return False
    _reserved.append(name)
    return True


def check_free(endpoint: str) -> None:
    """Raises: StepFailed where somebody listens there already."""
    if not is_free(endpoint):
        raise StepFailed(f"{endpoint} is in use already: is another gateway running?")


def is_free(endpoint: str) -> bool:
    """Whether nobody listens there."""
    host, _, port = endpoint.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) != 0


class Stage:
    """One installation in `state`, played on by the `sealgate` command as a user would."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.console = Console(highlight=False)
        self.results: list[Result] = []
        self._gateway: subprocess.Popen[bytes] | None = None
        self._console: subprocess.Popen[bytes] | None = None
        self._log = state / "gateway.log"

    def title(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/bold]")

    def say(self, command: str) -> None:
        """Prints the command that is being played."""
        self.console.print(f"  [dim]$ {command}[/dim]", soft_wrap=True)

    def note(self, text: str) -> None:
        """Prints what was found, without keeping it."""
        self.console.print(f"  {text}", soft_wrap=True, markup=False)

    def check(self, step: str, held: bool, found: str) -> None:
        """Prints and keeps one finding."""
        mark = "[green]held[/green]" if held else "[red]DID NOT HOLD[/red]"
        self.console.print(f"  {mark}  {escape(f'{step}: {found}')}", soft_wrap=True)
        self.results.append(Result(step, found, held))

    def command(self, *words: str, person: str | None = None, threads: int = 0) -> Any:
        """Runs one `sealgate` command, on so many threads where it says how many; returns what it
        prints with --json.

        Raises: StepFailed where it fails.
        """
        done = self._run(words, person, threads)
        if done.returncode:
            raise StepFailed(f"sealgate {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout) if "--json" in words else done.stdout

    def refused(self, *words: str, person: str | None = None) -> str:
        """Runs a command that should be refused; returns the reason's name."""
        done = self._run(words, person)
        if not done.returncode:
            return "it went through"
        return done.stderr.rpartition("Error: ")[2].partition(":")[0].strip()

    def _run(
        self, words: tuple[str, ...], person: str | None, threads: int = 0
    ) -> subprocess.CompletedProcess[str]:
        speaker = ["--as", person] if person else []
        shown = [word for word in words if word != "--json"]
        more = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        setting = [f"{name}={value}" for name, value in more.items()]
        self.say(shlex.join([*setting, "sealgate", *speaker, *shown]))
        return subprocess.run(
            [*SEALGATE, "--state", str(self.state), *speaker, *words],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    def start_gateway(self) -> None:
        """Starts `sealgate serve` and waits until it is up. Raises: StepFailed."""
        check_free(self.profile("client").endpoint)
        self.say("sealgate serve &")
        with self._log.open("ab") as log:
            self._gateway = subprocess.Popen(
                [*SEALGATE, "--state", str(self.state), "serve"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        with connect(self.profile("client")) as channel:
            stub = GRPCInferenceServiceStub(channel)
            while True:
                try:
                    stub.ServerLive(oip.ServerLiveRequest(), timeout=1)
                    return
                except grpc.RpcError as error:
                    if self._gateway.poll() is not None or time.monotonic() > deadline:
                        raise StepFailed(f"the gateway did not start; see {self._log}") from error
                    time.sleep(0.05)

    def start_console(self) -> None:
        """Starts `sealgate serve console` and waits until it listens. Raises: StepFailed."""
        address = ConsoleConfig.read(self.state / "console.toml").listen.address
        check_free(address)
        self.say("sealgate serve console &")
        with (self.state / "console.log").open("ab") as log:
            self._console = subprocess.Popen(
                [*SEALGATE, "--state", str(self.state), "serve", "console"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        while is_free(address):
            if self._console.poll() is not None or time.monotonic() > deadline:
                raise StepFailed(f"the console did not start; see {self.state / 'console.log'}")
            time.sleep(0.05)

    def stop_console(self) -> None:
        """Stops the console, if it runs."""
        if self._console is not None:
            self._console.terminate()
            self._console.wait(timeout=60)
            self._console = None

    def logged(self, text: str) -> bool:
        """Whether the gateway's own log says so."""
        return text in self._log.read_text()

    def wait(self, condition: Callable[[], bool] = lambda: False) -> bool:
        """Returns when a condition holds (True), or when the gateway ends (False)."""
        while self._gateway is not None and self._gateway.poll() is None:
            if condition():
                return True
            time.sleep(_LOOK_SECONDS)
        return False

    def stop_gateway(self) -> int:
        """Stops the gateway as a service manager would; returns its exit status."""
        if self._gateway is None:
            return 0
        self._gateway.terminate()
        status = self._gateway.wait(timeout=60)
        self._gateway = None
        return status

    @property
    def gateway_pid(self) -> int:
        """The gateway's process. Raises: StepFailed where it does not run."""
        if self._gateway is None:
            raise StepFailed("the gateway does not run")
        return self._gateway.pid

    def profile(self, person: str) -> Profile:
        return Profile.read(self.state / "people" / person / "profile.toml")

    def client(self, person: str) -> Client:
        """A client that verifies every answer it gets."""
        profile = self.profile(person)
        return sealgate.connect(profile.endpoint, **options_of(profile))

    def show_table(self) -> bool:
        """Prints every finding; returns whether all held."""
        table = Table(title="What the demo showed", title_justify="left", header_style="bold")
        for column in ("step", "found", ""):
            table.add_column(column, overflow="fold")
        for result in self.results:
            mark = "[green]held[/green]" if result.held else "[red]DID NOT HOLD[/red]"
            table.add_row(escape(result.step), escape(result.found), mark)
        self.console.print()
        self.console.print(table)
        return all(result.held for result in self.results)


_LOOK_SECONDS = 0.2
SEALGATE = (sys.executable, "-m", "sealgate.cli.main")
os.environ.setdefault("OMP_NUM_THREADS", "1")
