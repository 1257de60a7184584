"""`sealgate serve` as a process beside a gateway, which a test may kill, cramp or misinform."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_START_SECONDS = 300.0
# The last of the listeners that every gateway has.
_LISTENS = "listening: mutual"


class GatewayProcess:
    """The gateway of the installation in `state`. Its output goes to `log`.

    `before` are words that run it, such as `ip netns exec NAME`; they must become it, not fork it.
    """

    def __init__(self, state: Path, *before: str, **environment: str) -> None:
        self.log = state / "gateway.log"
        self._words = [*before, sys.executable, "-m", "sealgate.cli.main", "--state", str(state)]
        self.environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers. Raises: AssertionError where it ends instead."""
        self.launch()
        deadline = time.monotonic() + _START_SECONDS
        while _LISTENS not in self.printed:
            assert self._process.poll() is None, self.printed
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.02)

    def launch(self) -> None:
        """Start it, and return at once."""
        # To a file: nobody would read a pipe, and a full one is waited for.
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._words, "serve"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment},
            )

    @property
    def printed(self) -> str:
        return self.log.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None

    def memory(self) -> float:
        """Its resident memory, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def kill(self) -> None:
        self._process.kill()
        self.ended()

    def stop(self) -> int:
        """End it as a service manager would; returns its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self, seconds: float = 300.0) -> int:
        """Wait until it has ended; returns its exit status."""
        status = self._process.wait(seconds)
        self._process = None
        return status
