"""The contents of an image, installed without a container engine: the wheel of the files that the
container file copies, in an environment of its own. Dependencies come from this environment.
"""

import json
import os
import re
import shutil
import site
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from tests.support.harness.gateway import ROOT
from tests.support.oracles.programs import run

FILES = ["Containerfile", "Containerfile.cuda"]
# Documents, type stubs and protocol sources: no program reads them at run time.
NOT_READ = {".md", ".pyi", ".proto"}
_IMPORT_ALL = """
import json, sys
from importlib.metadata import distribution
broken = {}
for entry in distribution("sealgate").entry_points:
    try:
        entry.load()
    except Exception as error:
        broken[f"{entry.group} {entry.name}"] = repr(error)
places = {name: module.__file__ for name, module in sys.modules.items() if name in sys.argv[1:]}
print(json.dumps({"broken": broken, "places": places}))
"""


def copied(name: str) -> list[str]:
    """Return the repository's files that the container file copies before it installs."""
    text = (ROOT / "deploy" / "container" / name).read_text()
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", text[: text.index("\nARG EXTRAS=")], re.M)
    return [source for line in lines for source in line.split()]


def packages() -> list[str]:
    return [source.rstrip("/") for source in copied(FILES[0]) if source.endswith("/")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site-packages of an environment with our wheel alone."""
    home = tmp_path_factory.mktemp("image")
    source = home / "source"
    source.mkdir()
    for name in copied(FILES[0]):
        if name.endswith("/"):
            shutil.copytree(
                ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    done = run([*wheel, "--no-deps", "--no-build-isolation", "--wheel-dir", home, source])
    assert done.returncode == 0, done.stderr
    (built,) = home.glob("sealgate-*.whl")
    venv.create(home / "venv", symlinks=True)
    (packages_folder,) = (home / "venv").glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = run([*install, "--no-deps", "--target", packages_folder, built])
    assert done.returncode == 0, done.stderr
    return packages_folder


@pytest.fixture(scope="module")
def python(installed: Path) -> list[str | Path]:
    """Runs with what is installed, and with this environment's packages behind it."""
    (installed / "behind.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    # -I: neither the folder it starts in nor PYTHONPATH is looked at.
    return [installed.parents[2] / "bin" / "python", "-I"]


@pytest.mark.parametrize("name", FILES)
def test_every_package_of_the_wheel_is_copied(name: str) -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = document["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {source for source in copied(name) if source.endswith("/")} == {
        f"{pattern.rstrip('*')}/" for pattern in found
    }


def test_every_file_that_a_program_reads_is_installed(installed: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--", *packages()],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    wanted = [name for name in tracked if Path(name).suffix not in NOT_READ]
    assert len(wanted) > 500
    different = [
        name
        for name in wanted
        if not (installed / name).is_file()
        or (installed / name).read_bytes() != (ROOT / name).read_bytes()
    ]
    assert different == []


@pytest.mark.long
def test_every_command_is_there(installed: Path, python: list[str | Path]) -> None:
    done = run([*python, "-c", _IMPORT_ALL, *packages()])
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    # The one that needs an environment of its own.
    assert set(seen["broken"]) <= {"sealgate.commands federate"}
    # And they are those of the wheel, not of this checkout.
    assert seen["places"].keys() == set(packages())
    assert all(Path(place).is_relative_to(installed) for place in seen["places"].values())


@pytest.mark.long
@pytest.mark.parametrize("words", [[], ["engine"], ["generator"], ["events"], ["console"]])
def test_what_containers_run_starts(python: list[str | Path], words: list[str]) -> None:
    command = [*python, "-m", "sealgate.cli.main", "serve", *words, "--help"]
    done = run(command, environment={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_the_healthcheck_needs_nothing_else(python: list[str | Path], tmp_path: Path) -> None:
    script = ROOT / "deploy" / "container" / "healthcheck.py"
    done = run([*python, script, "gateway"], environment={"SEALGATE_STATE": str(tmp_path)})
    assert done.returncode == 1
    assert "gateway.toml" in done.stdout
