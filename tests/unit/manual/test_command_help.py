"""The help of each command says what its options do, and shows an example."""

from collections.abc import Iterator

import click
import pytest

from sealgate.cli.main import main


def commands(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, by its words."""
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        yield f"{name} {word}".strip(), command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {word}".strip())


COMMANDS = dict(commands(main))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    options = (each for each in COMMANDS[name].params if isinstance(each, click.Option))
    assert [each.opts for each in options if not (each.help or each.hidden)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(name: str) -> None:
    command = COMMANDS[name]
    if not isinstance(command, click.Group) and "extra)" not in str(command.help):
        assert "Example" in str(command.epilog)
