"""Server processes under measurement: pinned, frozen while others run, their use read in /proc."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.1
_START_SECONDS = 90.0
_STOP_SECONDS = 15.0


class StartFailed(Exception):
    """A server did not start; the text is the last line of what it said."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which processor the servers run on, and which the load."""

    server: int
    client: int
    second: int
    """For another server: that of the load where there are two only."""
    count: int

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """The first and the last. Raises: SystemExit where there is only one."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise SystemExit("this benchmark needs two cores: one for the server, one for the load")
        return cls(cores[0], cores[-1], cores[1], len(cores))


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Processes that are started meanwhile run on `cores`, and so do their children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


_SPIN = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"


@contextmanager
def kept_busy(core: int) -> Iterator[None]:
    """The core has no idle moment in the block: what nobody else takes of it, a loop does. Where
    cores share a clock or caches, a server would otherwise be the slower the more its client asks.
    """
    with pinned({core}):
        loop = subprocess.Popen([sys.executable, "-c", _SPIN])
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


class Server:
    """A server and all processes that it starts."""

    def __init__(
        self, command: Sequence[str], core: int, log: Path, more: Mapping[str, str] | None = None
    ) -> None:
        """`log` gets what the server says; `more` is added to its environment."""
        self._log = log
        with pinned({core}), log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdout=file,
                stderr=file,
                env={**os.environ, **(more or {})},
                start_new_session=True,
            )

    def await_port(self, port: int) -> None:
        """Returns once somebody listens there. Raises: StartFailed."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise StartFailed(self.last_line())
            time.sleep(_LOOK_SECONDS)

    def await_line(self, start: str) -> None:
        """Returns once it has said a line that starts so. Raises: StartFailed."""
        deadline = time.monotonic() + _START_SECONDS
        while not any(line.startswith(start) for line in self._log.read_text().splitlines()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise StartFailed(self.last_line())
            time.sleep(_LOOK_SECONDS)

    def last_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"

    def ticks(self) -> dict[int, int]:
        """Clock ticks that each process has used so far."""
        return {pid: used for pid in self._tree() if (used := _ticks(pid)) is not None}

    def memory(self) -> int:
        """Bytes of all processes, what they share counted once (PSS)."""
        return sum(map(pss, self._tree()))

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the server, and what of it does not end by itself."""
        tree = self._tree()
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in tree[1:]:
            _send(pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._tree():
            _send(pid, number)

    def _tree(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:
            found += children(pid)
        return found


@dataclass(frozen=True, slots=True)
class ServerGroup:
    """Servers that answer together."""

    processes: tuple[Server, ...]

    def ticks(self) -> dict[int, int]:
        return {pid: used for each in self.processes for pid, used in each.ticks().items()}

    def memory(self) -> int:
        return sum(each.memory() for each in self.processes)

    def freeze(self) -> None:
        for each in self.processes:
            each.freeze()

    def thaw(self) -> None:
        for each in self.processes:
            each.thaw()


def cpu_seconds(before: Mapping[int, int], after: Mapping[int, int]) -> float:
    """The processor time between two readings of `Server.ticks`."""
    return sum(used - before.get(pid, 0) for pid, used in after.items()) / _TICK


def free_ports(count: int) -> int:
    """The first of `count` free ports of loopback in a row."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
        if all(_is_free(port + place) for place in range(count)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def children(pid: int) -> list[int]:
    """The processes that a process started; none where it has gone."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, read_proc(pid, str(path.relative_to(f"/proc/{pid}"))).split())
    return found


def pss(pid: int) -> int:
    """Bytes of a process, what it shares counted in part; 0 where it has gone."""
    figure = read_proc(pid, "smaps_rollup").partition("\nPss:")[2].split()
    return int(figure[0]) * 1024 if figure else 0


def status_kb(pid: int, name: str) -> int:
    """Kibibytes that `status` of a process has under a name such as VmRSS; 0 where it has gone."""
    figure = read_proc(pid, "status").partition(f"\n{name}:")[2].split()
    return int(figure[0]) if figure else 0


def processor_seconds(pid: int) -> float:
    """Seconds of a core that a process has used so far; 0 where it has gone."""
    return (_ticks(pid) or 0) / _TICK


def read_proc(pid: int, name: str) -> str:
    """A file of a process in /proc; empty where it has gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""


def _ticks(pid: int) -> int | None:
    # The name, in parentheses, may hold anything; user and system time are fields 14 and 15.
    text = read_proc(pid, "stat").rpartition(")")[2].split()
    return int(text[11]) + int(text[12]) if text else None


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
