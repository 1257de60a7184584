"""The README's table of what can be installed names each extra, and no other."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_readme_lists_each_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = re.findall(r"^\| `pip install .*$", (ROOT / "README.md").read_text(), re.M)
    listed = re.findall(r"\.\[([a-z0-9-]+)\]", "\n".join(table))
    assert sorted(listed) == sorted(project["optional-dependencies"])


def test_an_editable_install_puts_the_folder_itself_on_the_path() -> None:
    """Otherwise a clone called `sealgate` hides the package from scripts beside it."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert setuptools["package-dir"] == {"": "."}
