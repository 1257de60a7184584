"""Processes of the drill beside the gateway, started again as systemd starts them."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from demo.stage import StepFailed

_UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "sealgate-engine.service"
_START_SECONDS = 120.0
_LOOK = 0.05


def restart_seconds(unit: Path = _UNIT) -> float:
    """How long systemd waits before it starts a failed unit again: its `RestartSec`."""
    found = re.search(r"^RestartSec=(\d+)$", unit.read_text(), re.M)
    if found is None:
        raise ValueError(f"{unit} has no RestartSec")
    return float(found[1])


class Supervisor:
    """Keeps one process going: when it fails, it is started again after `pause` seconds."""

    def __init__(self, command: Sequence[str], log: Path, ready: str, pause: float) -> None:
        """`ready` is what the process prints once it listens; `log` takes what it prints."""
        self._command, self._log = list(command), log
        self._ready, self._pause = ready, pause
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=f"keeps {log.stem}", daemon=True)

    def start(self) -> None:
        """Start it, and return when it listens. Raises: StepFailed."""
        self._log.unlink(missing_ok=True)
        self._launch()
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while self._ready not in self._log.read_text():
            if time.monotonic() > deadline:
                raise StepFailed(f"it did not start; see {self._log}")
            time.sleep(_LOOK)

    def kill(self) -> int:
        """End it with SIGKILL, as a crash or the kernel's out-of-memory killer would; its id."""
        process = self._running()
        process.send_signal(signal.SIGKILL)
        return process.pid

    def stop(self) -> None:
        """End it for good."""
        self._stopping.set()
        while self._thread.is_alive():
            # Again, for it may just have been started anew.
            self._running().terminate()
            self._thread.join(_LOOK)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise StepFailed("it was never started")
        return self._process

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"}
            )

    def _run(self) -> None:
        while True:
            self._running().wait()
            if self._stopping.wait(self._pause):
                return
            self._launch()
