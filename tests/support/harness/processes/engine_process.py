"""`sealgate serve engine` or `generator` as a process, beside a gateway that is told to use it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sealgate.setup.configuration import EnginePlace
from tests.support.harness.gateway import GatewayHarness

_SEALGATE = ("-m", "sealgate.cli.main")


class EngineProcess:
    """The engine of an installation; `output` is what it printed, once it has ended.

    Its configuration is `config` in the installation's folder; `python` may be of an environment
    with another onnxruntime. `before` are words that run it, such as `ip netns exec NAME`, and
    `options` the command's; `kind` is what is served.
    """

    def __init__(
        self,
        state: Path,
        config: str = "engine.toml",
        python: str = sys.executable,
        before: Sequence[str] = (),
        options: Sequence[str] = (),
        kind: str = "engine",
    ) -> None:
        self._command = [*before, python, *_SEALGATE, "serve", kind, *options]
        self._command += ["--config", str(state / config)]
        self._process: subprocess.Popen[str] | None = None
        self.address = ""
        self.output = ""

    def start(self) -> None:
        """Start it, and return when it listens."""
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        self.output = ""
        for line in self._process.stdout:
            self.output += line
            if line.startswith("listening: "):
                self.address = line.removeprefix("listening: ").strip()
                return
        raise AssertionError(f"the engine ended: {self.output}")

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def pause(self) -> None:
        """Let it hang: it answers nothing, and its connections stay."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """End it as a service manager would; returns its exit status."""
        self._process.terminate()
        return self._end()

    def _end(self) -> int:
        self.output += self._process.communicate(timeout=300)[0]
        status = self._process.returncode
        self._process = None
        return status

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def runs(self) -> bool:
        return self._process is not None


@contextmanager
def separate(state: Path) -> Iterator[tuple[GatewayHarness, EngineProcess]]:
    """A gateway and its engine on a unix socket, both running."""
    harness = GatewayHarness(state, engine=EnginePlace())
    engine = EngineProcess(state)
    engine.start()
    try:
        harness.start()
        yield harness, engine
    finally:
        harness.stop()
        if engine.runs:
            engine.stop()
