"""The command line's output: whole words, one row a line in pipes, a note where a list is empty."""

import io
import json

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from sealgate.cli import output
from sealgate.cli.output import HelpfulGroup, show_fields, show_rows
from sealgate.settings import ConfigError

DIGEST = "sha256:" + "5e" * 32
ROW = {"what": "a version of this model, and rather a lot of words about it", "digest": DIGEST}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A narrow terminal, by what is written to it."""
    written = io.StringIO()
    console = Console(file=written, width=60, force_terminal=True, color_system=None)
    monkeypatch.setattr(output, "new_console", lambda: console)
    return written


def test_a_digest_is_never_folded(
    terminal: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    show_rows([ROW, ROW], ("what", "digest"), False)
    lines = capsys.readouterr().out.splitlines()
    shown = [f"what    {ROW['what']}", f"digest  {DIGEST}"]
    assert lines == [*shown, "", *shown]
    assert terminal.getvalue() == ""


def test_words_are_wrapped(terminal: io.StringIO) -> None:
    show_rows([{**ROW, "digest": DIGEST[:20]}], ("what", "digest"), False)
    written = terminal.getvalue()
    assert DIGEST[:20] in written
    assert len(written.splitlines()) == 3


def test_a_pipe_gets_a_row_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([ROW, ROW], ("what", "digest"), False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(ROW["what"] in line and DIGEST in line for line in lines[1:])


def test_nothing_is_said_to_be_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([], ("what", "digest"), False)
    assert capsys.readouterr().out.splitlines() == ["what  digest", "none"]
    show_rows([], ("what", "digest"), True)
    assert capsys.readouterr().out == "[]\n"


def test_items_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    show_fields({"signed": True, "evidence": ["one", "two"], "key": "first\nsecond\n"}, False)
    assert capsys.readouterr().out.splitlines() == [
        "signed    yes",
        "evidence  one",
        "          two",
        "key       first",
        "          second",
    ]


def test_a_mapping_is_printed_for_people_and_nested_in_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = {"recipients": {"north": {"z": 16.2}, "south": {"z": 12.0}}, "others": {}, "notes": []}
    show_fields(values, False)
    assert capsys.readouterr().out.splitlines() == [
        "recipients  north: z 16.2",
        "            south: z 12.0",
        "others      none",
        "notes       none",
    ]
    show_fields(values, True)
    assert json.loads(capsys.readouterr().out) == values


def test_a_wrong_configuration_ends_a_command_with_what_to_change() -> None:
    def start() -> None:
        raise ConfigError("[listen] port must be positive")

    commands = HelpfulGroup("sealgate", commands=[click.Command("start", callback=start)])
    done = CliRunner().invoke(commands, ["start"])
    assert (done.exit_code, done.output) == (1, "Error: [listen] port must be positive\n")


@pytest.mark.parametrize(
    ("error", "says"),
    [(RecursionError(), "is nested too deep"), (MemoryError(), "is too large")],
)
def test_a_file_without_measure_ends_a_command_with_an_error(error: Exception, says: str) -> None:
    def read() -> None:
        raise error

    commands = HelpfulGroup("sealgate", commands=[click.Command("read", callback=read)])
    done = CliRunner().invoke(commands, ["read"])
    assert (done.exit_code, done.output) == (1, f"Error: what was given or received {says}\n")
