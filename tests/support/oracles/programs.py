"""Finding the programs that check our formats though we did not write them.

On a user's machine a missing one skips its test and says so; in CI it fails the test, unless it is
one of MAY_BE_MISSING.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

X86_64_HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")

MAY_BE_MISSING = {
    "kserve": "its client is 450 MB, for which .ci/run does not wait",
    "aics_witness": "it needs Python 3.12, and ours may be older and the only one",
    "openvino": "its wheels are for few machines and versions of Python",
    "helm": "its library is 75 MB, and Debian has no program helm; `make oracle-helm` brings it",
    "callers": "grpcurl and perf_analyzer are packaged for Linux on x86-64, with glibc 2.38, alone",
    "openai_server": "it has torch a second time; `make test-extra NAME=openai` installs it",
    "federated": "it has torch a second time; `make test-extra NAME=federated` installs it",
    "tensorflow": "it is 1.6 GB; `make test-extra NAME=tensorflow` installs it",
    "mlflow": "it is 900 MB; `make test-extra NAME=mlflow` installs it",
    "ray": "it is 100 MB and has web servers of its own, which `make test-extra NAME=ray` installs",
    **({"mlserver": "it is for Python before 3.13"} if sys.version_info >= (3, 13) else {}),
    **(
        {str(X86_64_HEADER): "it is for that machine alone"}
        if platform.machine() != "x86_64"
        else {}
    ),
}
"""The programs that some machines cannot have, so that their tests are skipped in CI too, with the
reason.

Nothing else may be missing there. The Makefile, which installs them, fails where one could be had
and does not install, all but KServe's client and OpenVINO.
"""


def program(name: str) -> str:
    """The path of a program, such as `cosign`."""
    path = shutil.which(name)
    if path is None:
        _missing(name, f"the program {name}")
    return str(path)


def python_with(module: str) -> str:
    """The Python of the oracles' environment, which must have `module`."""
    home = Path(os.environ.get("SEALGATE_ORACLE_VENV", ROOT / ".venv-oracles"))
    python = home / "bin" / "python"
    if not python.exists() or not list(home.glob(f"lib/python*/site-packages/{module}")):
        _missing(module, f"the Python package {module} in {home}")
    return str(python)


def own_python_with(name: str, module: str = "") -> str:
    """The Python of an environment that `name` has to itself, for what it pins or for its size.

    `module` is the package that must be there, where it is called otherwise.
    """
    stated = os.environ.get(f"SEALGATE_{name.upper()}_VENV")
    home = Path(stated) if stated else ROOT / f".venv-{name}"
    python = home / "bin" / "python"
    # An installation that was broken off has no stamp.
    whole = python.exists() and (stated or (home / "ready").exists())
    if not whole or not list(home.glob(f"lib/python*/site-packages/{module or name}")):
        _missing(name, f"the Python package {name} in {home}")
    return str(python)


def caller(name: str) -> Path:
    """A program that asks a gateway: `grpcurl` or `perf_analyzer`."""
    return Path(own_python_with("callers", "perf_analyzer")).with_name(name)


def header(path: Path) -> str:
    """The text of one of the kernel's headers."""
    if not path.exists():
        _missing(str(path), f"the header {path}")
    return path.read_text()


def package(module: str) -> Path:
    """The folder of a package of this environment, such as one that carries programs."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        _missing(module, f"the Python package {module}")
        raise AssertionError
    return Path(spec.origin).parent


def go_package(path: str) -> Path:
    """The GOPATH that has a Go package's source, such as Debian's."""
    for root in ("/usr/share/gocode", os.environ.get("GOPATH", "")):
        if root and (Path(root) / "src" / path).is_dir():
            return Path(root)
    _missing(path, f"the Go package {path}")
    raise AssertionError


def run(
    command: Sequence[str | Path], text: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command on some input and return its exit status and output, whatever they are."""
    return subprocess.run(
        command, input=text, env=environment, capture_output=True, text=True, timeout=280
    )


def _missing(name: str, what: str) -> None:
    message = f"this oracle is missing: {what}"
    if name in MAY_BE_MISSING:
        pytest.skip(f"{message}; {MAY_BE_MISSING[name]}")
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
