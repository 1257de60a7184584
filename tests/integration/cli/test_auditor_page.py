"""docs/how-to/auditor.md: each question has a command that exists and explains itself."""

import re
import shlex
from pathlib import Path

import click
import pytest

from sealgate.cli.main import main

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "auditor.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
COMMANDS = sorted(set(re.findall(r"`(sealgate [^`]+)`", PAGE)))


def resolve(text: str) -> tuple[click.Command, list[str]]:
    """The command that a line names, and the words that are left for it."""
    words = shlex.split(text, comments=True)[1:]
    if words[:1] == ["--as"]:
        words = words[2:]
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"{text}: no command {words[0]!r}"
        command, words = found, words[1:]
    return command, words


def test_there_are_fifteen_questions_with_a_command_each() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 16))
    for _, question, answer in ROWS:
        assert question.endswith("?")
        assert re.search(r"`sealgate [^`]+`", answer), question


@pytest.mark.parametrize("text", COMMANDS)
def test_each_command_exists_and_has_help(text: str) -> None:
    command, words = resolve(text)
    assert command.help
    assert "needs the serve extra" not in command.help
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options, text
    shown = command.get_help(click.Context(command, info_name=text))
    assert "Example" in shown
