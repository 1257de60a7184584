"""Finding the programs that check our formats though we did not write them.

On a user's machine a missing one skips its test and says so; in CI it fails the test.
"""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def program(name: str) -> str:
    """The path of a program, such as `cosign`."""
    path = shutil.which(name)
    if path is None:
        _missing(f"the program {name}")
    return str(path)


def python_with(module: str) -> str:
    """The Python of the oracles' environment, which must have `module`."""
    home = Path(os.environ.get("SEALGATE_ORACLE_VENV", ROOT / ".venv-oracles"))
    python = home / "bin" / "python"
    if not python.exists() or not list(home.glob(f"lib/python*/site-packages/{module}")):
        _missing(f"the Python package {module} in {home}")
    return str(python)


def own_python_with(module: str) -> str:
    """The Python of an environment that `module` has to itself, for what it pins."""
    home = Path(os.environ.get(f"SEALGATE_{module.upper()}_VENV", ROOT / f".venv-{module}"))
    python = home / "bin" / "python"
    if not python.exists() or not list(home.glob(f"lib/python*/site-packages/{module}")):
        _missing(f"the Python package {module} in {home}")
    return str(python)


def large_python_with(module: str) -> str:
    """The Python of an environment that `module` has to itself, being large.

    It is for those who have it: where it is missing the test is skipped, in CI too.
    """
    python = ROOT / f".venv-{module}" / "bin" / "python"
    if not (python.parent.parent / "ready").exists():
        pytest.skip(f"this oracle is missing: {module} in {python.parent.parent}")
    return str(python)


def package(module: str) -> Path:
    """The folder of a package of this environment, such as one that carries programs."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        _missing(f"the Python package {module}")
        raise AssertionError
    return Path(spec.origin).parent


def go_package(path: str) -> Path:
    """The GOPATH that has a Go package's source, such as Debian's."""
    for root in ("/usr/share/gocode", os.environ.get("GOPATH", "")):
        if root and (Path(root) / "src" / path).is_dir():
            return Path(root)
    _missing(f"the Go package {path}")
    raise AssertionError


def run(
    command: Sequence[str | Path], text: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command on some input and return its exit status and output, whatever they are."""
    return subprocess.run(
        command, input=text, env=environment, capture_output=True, text=True, timeout=100
    )


def _missing(what: str) -> None:
    message = f"this oracle is missing: {what}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
