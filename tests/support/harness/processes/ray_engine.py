"""`sealgate serve engine --on ray` as a process, and the processes that it starts."""

import os
import signal
from pathlib import Path

from tests.support.harness.processes.engine_process import EngineProcess
from tests.support.oracles import programs

_REPLICA = "ray::ServeReplica:engine:replica"
_LISTENING = "0A"


class RayEngine(EngineProcess):
    """The engine of an installation on Ray, run by the Python that has it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        super().__init__(state, python=programs.own_python_with("ray"), options=["--on", "ray"])

    def tree(self) -> list[int]:
        """The process and all that it started."""
        found = [self.pid]
        for pid in found:
            for path in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, read(path).split())
        return found

    def replicas(self) -> list[int]:
        """The processes that run graphs, busy or idle."""
        return [
            pid for pid in self.tree() if read(Path(f"/proc/{pid}/cmdline")).startswith(_REPLICA)
        ]

    def kill_replica(self) -> None:
        os.kill(self.replicas()[0], signal.SIGKILL)

    def folder(self) -> Path:
        """The folder of this start alone."""
        return Path(self._word("RAY_AUTH_TOKEN_PATH=", "environ")).parent

    def head(self) -> str:
        """Where Ray's head listens."""
        return self._word("--gcs-address=", "cmdline")

    def _word(self, prefix: str, file: str) -> str:
        words = [
            word for pid in self.tree() for word in read(Path(f"/proc/{pid}/{file}")).split("\0")
        ]
        return next(word for word in words if word.startswith(prefix)).removeprefix(prefix)

    def listening(self) -> set[tuple[str, int]]:
        """The address, as the kernel writes it, and the port of each TCP socket of the tree that
        listens.
        """
        sockets = {inode for pid in self.tree() for inode in _sockets(pid)}
        found = set()
        for table in ("tcp", "tcp6"):
            for line in read(Path(f"/proc/{self.pid}/net/{table}")).splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and fields[9] in sockets:
                    address, _, port = fields[1].partition(":")
                    found.add((address, int(port, 16)))
        return found


def _sockets(pid: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = os.readlink(path)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.append(target.removeprefix("socket:[").removesuffix("]"))
    return found


def read(path: Path) -> str:
    """A file of /proc; empty where the process has gone."""
    try:
        return path.read_text()
    except OSError:
        return ""
