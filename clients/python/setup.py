"""Builds `sealgate-client`: the base install of the repository's distribution, without the servers.

Version, dependencies and commands are those of the pyproject.toml two folders up.
"""

import os
import tomllib
from pathlib import Path

from setuptools import find_packages, setup

# setuptools takes paths that are relative to this file.
os.chdir(Path(__file__).parent)
ROOT = Path("../..")
BUILD = ROOT / "build" / "client"
BUILD.mkdir(parents=True, exist_ok=True)

settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
project = settings["project"]
base = ("sealgate", "sealgate.*")


def own(entries: dict[str, str]) -> list[str]:
    """The commands that the base install can run."""
    return [f"{name} = {where}" for name, where in entries.items() if where.startswith("sealgate.")]


setup(
    name="sealgate-client",
    version=project["version"],
    description="The client of Sealgate: asks with numpy arrays and verifies every answer.",
    license=project["license"],
    python_requires=project["requires-python"],
    install_requires=project["dependencies"],
    packages=find_packages(str(ROOT), include=base),
    package_dir={"": str(ROOT)},
    package_data=settings["tool"]["setuptools"].get("package-data", {}),
    entry_points={
        "console_scripts": own(project["scripts"]),
        **{group: own(entries) for group, entries in project["entry-points"].items()},
    },
    options={"egg_info": {"egg_base": str(BUILD)}, "build": {"build_base": str(BUILD)}},
)
