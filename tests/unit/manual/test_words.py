"""Old words for what now has the field's name do not come back, and modules define themselves."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
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
# A sentence that begins with a clause: "What was found is kept." A question may.
_CLAUSE_FIRST = re.compile(
    r"(?:\A|[.:;!?]\s+|\n\s*\n\s*)"
    r"((?:What|Who|Whom|Whose|Whoever|Whatever|Whichever) [a-z`][^.?!]*[.?!]?)"
)
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


def prose(text: str) -> Iterator[str]:
    """The docstrings, strings behind settings and comments of a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value).strip()
    comments: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append(token.string.lstrip("#: "))
        elif token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT) and comments:
            yield "\n".join(comments)
            comments = []


def test_no_sentence_of_the_code_begins_with_a_clause() -> None:
    found = [
        f"{path}: {match[1]}"
        for path, text in written().items()
        if path.endswith(".py") and "_pb2" not in path
        for part in prose(text)
        for match in _CLAUSE_FIRST.finditer(part)
        if not match[1].endswith("?")
    ]
    assert found == [], "begin with the thing that the sentence is about"


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
