"""Old words for what now has the field's name do not come back, and modules define themselves."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.structure import PACKAGES, sources

ROOT = Path(__file__).parents[3]
OLD_WORDS = {
    "turnstile": "stream limiter",
    "front door": "auth interceptor, gateway",
    "HTTP door": "HTTP gateway",
    "engine room": "inference engine",
    "knowing attacker": "adaptive attacker",
    "autopsy": "inspection",
    "checkup": "health",
    "standing": "live, or trust state",
    "surroundings": "environment",
    "wishes": "options",
}
# The changelog and the records of decisions tell what things were called.
_TELLING = ("CHANGELOG.md", "docs/adr/", "tests/unit/manual/test_words.py")


def written() -> dict[str, str]:
    """Every text that people write here, by its path."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.toml", "*.proto"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [path for path in listed.stdout.split() if not path.startswith(_TELLING)]
    return {path: (ROOT / path).read_text() for path in paths if (ROOT / path).exists()}


@pytest.mark.parametrize("top", PACKAGES)
def test_every_module_says_in_its_first_line_what_it_is(top: str) -> None:
    modules = [path for path in sources(str(ROOT / top)) if "migrations" not in path.parts]
    firsts = {
        str(path.relative_to(ROOT)): (ast.get_docstring(tree) or "").partition("\n")[0]
        for path in modules
        if (tree := ast.parse(path.read_text())).body
    }
    assert {path: line for path, line in firsts.items() if not line.endswith((".", ":"))} == {}


@pytest.mark.parametrize("word", OLD_WORDS)
def test_an_old_word_is_written_nowhere(word: str) -> None:
    found = [
        f"{path}:{text[: match.start()].count(chr(10)) + 1}"
        for path, text in written().items()
        for match in re.finditer(rf"\b{word}\b", text, re.IGNORECASE)
    ]
    assert found == [], f"write {OLD_WORDS[word]!r} instead"
