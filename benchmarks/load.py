"""The load: a client in Go, a process of its own on a core of its own (`load_client/`)."""

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.figures import Cell
from benchmarks.processes import cpu_seconds, pinned

_SOURCE = Path(__file__).parent / "load_client"
_GOPATHS = ("/usr/share/gocode", os.environ.get("GOPATH", ""))
_PACKAGES = "golang-go golang-google-grpc-dev golang-google-protobuf-dev"


@dataclass(frozen=True, slots=True)
class Plan:
    """The client's plan: see `Plan` in load_client/main.go."""

    protocol: str
    address: str
    requests: str
    values: int
    path: str = ""
    authority: str = ""
    token: str = ""
    receipt: bool = False
    in_flight: int = 1
    connections: int = 4
    rate: float = 0.0
    warm: float = 0.5
    seconds: float = 1.0
    each: bool = False


class ServerProcesses(Protocol):
    """One server process, or several."""

    def ticks(self) -> dict[int, int]:
        """See `Server.ticks`."""
        ...

    def memory(self) -> int:
        """See `Server.memory`."""
        ...


class LoadClient:
    """The built client. It runs on `core`."""

    def __init__(self, program: Path, core: int) -> None:
        self._program = program
        self._core = core

    @classmethod
    def build(cls, folder: Path, core: int) -> "LoadClient":
        """Raises: SystemExit where Go or its gRPC is missing, or the build fails."""
        go = shutil.which("go")
        roots = [root for root in _GOPATHS if (Path(root) / "src/google.golang.org/grpc").is_dir()]
        if go is None or not roots:
            raise SystemExit(f"the load client is written in Go: apt-get install {_PACKAGES}")
        folder.mkdir(parents=True, exist_ok=True)
        program = (folder / "load_client").resolve()
        done = subprocess.run(
            [go, "build", "-o", str(program), "."],
            cwd=_SOURCE,
            env={**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "GOPATH": roots[0]},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"the load client does not build: {done.stderr.strip()}")
        return cls(program, core)

    def measure(
        self, plan: Plan, server: ServerProcesses, recorded: Callable[[], int] | None = None
    ) -> Cell:
        """Drives one cell. `recorded` counts the entries of the server's answer log."""
        entries = recorded() if recorded else 0
        with self._start(plan) as process:
            _expect(process, "begin")
            before = server.ticks()
            _expect(process, "end")
            after = server.ticks()
            found = _finish(process)
        return Cell(
            seconds=plan.seconds,
            ok=found["ok"],
            cpu=cpu_seconds(before, after),
            p50_ms=found["p50_ms"],
            p99_ms=found["p99_ms"],
            memory=server.memory(),
            client_cpu=found["client_cpu"] * plan.seconds,
            answered=found["answered"],
            distinct=found["distinct"],
            failures=found["failures"],
            recorded=recorded() - entries if recorded else None,
        )

    def answered(self, plan: Plan) -> tuple[list[int], dict[str, int]]:
        """Asks each request once: the places of those answered, and what the others met."""
        with self._start(replace(plan, each=True)) as process:
            found = _finish(process)
        return found.get("places", []), found["failures"]

    def _start(self, plan: Plan) -> "subprocess.Popen[str]":
        with pinned({self._core}):
            process = subprocess.Popen(
                [self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert process.stdin is not None  # noqa: S101 - for the type checker
        process.stdin.write(json.dumps(asdict(plan)))
        process.stdin.close()
        return process


def write_requests(path: Path, requests: Iterable[bytes]) -> str:
    """Prepared requests, as the client reads them; returns the path."""
    with path.open("wb") as file:
        for request in requests:
            file.write(struct.pack("<I", len(request)) + request)
    return str(path)


def _expect(process: "subprocess.Popen[str]", word: str) -> None:
    line = _line(process).strip()
    if line != word:
        raise RuntimeError(f"the load client said {line!r}, not {word!r}")


def _finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_line(process))
    process.wait()
    return found


def _line(process: "subprocess.Popen[str]") -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"the load client ended with {process.wait()}")
    return line
