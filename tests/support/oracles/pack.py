"""An auditor's pack, and an auditor who does what its README says and nothing else."""

import os
import re
import subprocess
from pathlib import Path

from tests.support.oracles import programs

_COMMANDS = re.compile(r"```sh\n(.*?)```", re.DOTALL)


class PackReader:
    """Runs the commands of a pack's README. It has none of our code: Python is the oracles'."""

    def __init__(self) -> None:
        for module in ("model_signing", "securesystemslib", "cyclonedx"):
            python = programs.python_with(module)
        for program in ("cosign", "go", "sha256sum"):
            programs.program(program)
        programs.go_package("golang.org/x/mod/sumdb/tlog")
        self._path = f"{Path(python).parent}:{os.environ['PATH']}"

    def run(self, pack: Path, command: str) -> tuple[int, str]:
        """The exit status and output of one command in the pack's folder."""
        environment = {**os.environ, "PATH": self._path, "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("PYTHONPATH", None)
        result = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=pack,
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
        )
        return result.returncode, result.stdout + result.stderr

    def check(self, pack: Path) -> str:
        """All that the README says; returns what was printed, or the first failure."""
        printed = []
        for command in commands(pack):
            status, output = self.run(pack, command)
            printed.append(output)
            if status != 0:
                return f"FAILED: {command}\n{output}"
        return "\n".join(printed)


def commands(pack: Path) -> list[str]:
    return _COMMANDS.findall((pack / "README.md").read_text())
