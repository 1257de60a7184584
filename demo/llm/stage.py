"""The stage of a language model: a gateway, and the process beside it that generates."""

import resource
import shlex
import subprocess
import time
from pathlib import Path

from demo.stage import SEALGATE, Stage, StepFailed, free_ports

# It imports torch.
_START_SECONDS = 300
_ANSWER_SECONDS = 300
_GENERATION = """
[generation]
copies = "engine/copies"
cache_tokens = 4096
"""


class GeneratorStage(Stage):
    """An installation whose `[generator]` is the engine that `sealgate init` prepared."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.http_port = 0
        """Where OpenAI's protocol is spoken, once `configure` has run."""
        self._generator: subprocess.Popen[bytes] | None = None

    def configure(self) -> None:
        """Makes the engine's part of the installation a generator's, and lets it speak HTTP."""
        self.say(f"write {self.state}/generator.toml; name it in gateway.toml, and [http]")
        self.http_port = free_ports()
        gateway = self.state / "gateway.toml"
        text = gateway.read_text().replace("[engine]", "[generator]")
        gateway.write_text(f'{text}\n[http]\ntls = "127.0.0.1:{self.http_port}"\n')
        engine = self.state / "engine.toml"
        (self.state / "generator.toml").write_text(engine.read_text() + _GENERATION)
        engine.unlink()

    def start_generator(self) -> None:
        """Starts `sealgate serve generator` and waits for its socket. Raises: StepFailed."""
        self.say("sealgate serve generator &")
        log = self.state / "generator.log"
        with log.open("ab") as out:
            command = [*SEALGATE, "--state", str(self.state), "serve", "generator"]
            self._generator = subprocess.Popen(command, stdout=out, stderr=out)
        deadline = time.monotonic() + _START_SECONDS
        while not (self.state / "engine" / "engine.sock").exists():
            if self._generator.poll() is not None or time.monotonic() > deadline:
                raise StepFailed(f"the generator did not start; see {log}")
            time.sleep(0.1)

    def stop_generator(self) -> None:
        if self._generator is not None:
            self._generator.terminate()
            self._generator.wait(timeout=60)
            self._generator = None

    def curl(self, path: str, options: str = "") -> list[str]:
        """The command that asks the gateway's HTTP listener as the client, which is printed."""
        token = shlex.quote(str(self.state / "people" / "client" / "token.jwt"))
        authority = shlex.quote(str(self.state / "tls" / "servers.pem"))
        command = (
            f"curl --silent --show-error --max-time {_ANSWER_SECONDS} --cacert {authority} "
            f'--header "authorization: Bearer $(cat {token})" {options}'
            f"https://localhost:{self.http_port}{path}"
        )
        self.say(command)
        return ["sh", "-c", command]

    def await_ready(self, model: str) -> None:
        """Returns once a model is loaded and answers. Raises: StepFailed."""
        command = self.curl(f"/v2/models/{model}/ready", "--fail ")
        deadline = time.monotonic() + _ANSWER_SECONDS
        while subprocess.run(command, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise StepFailed(f"{model} does not come up; see {self._log}")
            time.sleep(0.5)

    def peaks(self) -> dict[str, float]:
        """The most memory that each process has had, in GB."""
        running = {"gateway": self._gateway, "generator": self._generator}
        return {name: peak(process.pid) for name, process in running.items() if process}


def peak(pid: int) -> float:
    """The most memory that a process has had so far, in GB, what is mapped of files included."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def children() -> tuple[float, float]:
    """Seconds of processor time of processes that have ended and were waited for, and the most
    memory that one of them has had, in GB.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9
