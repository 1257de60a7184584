"""Commands that the pages show: each is there, and takes the options that it is shown with."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import click
import pytest

from sealgate.cli.main import main
from tests.unit.manual.test_command_help import COMMANDS

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "clients/*/*.md")
    for page in ROOT.glob(pattern)
    if page.name != "CHANGELOG.md"
)
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(sealgate [^`\n]+)`")
_BEFORE = re.compile(r"do|then|\w+=\S*")


def shown(text: str) -> Iterator[list[str]]:
    """The words of each command of ours in a page's shell blocks and between its words."""
    blocks = [block for kind, block in _BLOCK.findall(text) if kind == "sh"]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    for line in [*lines, *_INLINE.findall(_BLOCK.sub("", text))]:
        if "sealgate " in line:
            yield from _commands(line)


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("();<>|&"):
            command.append(word)
            continue
        while command and _BEFORE.fullmatch(command[0]):
            command.pop(0)
        if command and Path(command[0]).name == "sealgate":
            yield command[1:]
        command = []


def unknown(words: list[str]) -> str:
    """The first word that no command or option of ours is called, or none."""
    command: click.Command = main
    while words and isinstance(command, click.Group):
        word, *words = words
        if word.isupper():
            return ""
        if word.startswith("-"):
            option = _option(command, word)
            if option is None:
                return word
            words = words if option.is_flag else words[1:]
            continue
        context = click.Context(command)
        found = command.get_command(context, word)
        if found is None:
            # `sealgate import PATH` means one of the group's commands.
            found = command.resolve_command(context, [word])[1]
            words = [word, *words]
        assert found is not None
        command = found
    if "extra)" in str(command.help):
        return ""
    named = (word for word in words if re.match(r"--?[a-z]", word))
    return next((word for word in named if _option(command, word) is None), "")


def _option(command: click.Command, word: str) -> click.Option | None:
    return _options(command).get(word.partition("=")[0])


@cache
def _options(command: click.Command) -> dict[str, click.Option]:
    """By each of their names."""
    found = command.get_params(click.Context(command))
    options = [each for each in found if isinstance(each, click.Option)]
    return {name: each for each in options for name in (*each.opts, *each.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_is_shown_exists(page: Path) -> None:
    commands = list(shown(page.read_text()))
    assert [(words, word) for words in commands if (word := unknown(words))] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_of_the_help_works_as_it_is_shown(name: str) -> None:
    examples = str(COMMANDS[name].epilog or "").replace("\b", "")
    # Text after more than one blank explains the command.
    examples = re.sub(r"(?<=[^ \n]) {2,}.*", "", examples)
    commands = list(shown(f"```sh\n{examples}\n```\n"))
    assert [(words, word) for words in commands if (word := unknown(words))] == []


def test_git_ignores_the_folders_that_shown_commands_write() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for page in PAGES:
        for words in shown(page.read_text()):
            for option, place in pairwise(words):
                if option in ("--out", "--graphs") and re.fullmatch(r"\w+(/\w+)+", place):
                    assert f"/{place.partition('/')[0]}/" in ignored, page


def test_the_pages_show_commands() -> None:
    assert sum(len(list(shown(page.read_text()))) for page in PAGES) > 300


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("A=b sealgate --as anna model propose digits 2 --shere 10 # comment", "--shere"),
        ("x && /opt/bin/sealgate log prune --dry-run --before 'a;b' | tee", ""),
        ("sealgate --passphrase x init", "--passphrase"),
        ("sealgate import folder --out copy", ""),
    ],
)
def test_an_option_that_is_not_there_is_found(line: str, word: str) -> None:
    assert [unknown(words) for words in shown(f"```sh\n{line}\n```\n")] == [word]


def test_a_command_that_is_not_there_is_refused() -> None:
    with pytest.raises(click.UsageError, match="modle"):
        unknown(["modle", "list"])
