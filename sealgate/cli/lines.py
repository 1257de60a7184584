"""What commands print that go on: a line for each event, for people or for programs."""

import json
from collections.abc import Mapping
from typing import Any

import click

from sealgate.cli.output import printable

json_lines_option = click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON document a line, for programs."
)
_WIDTH = 20


def show_line(values: Mapping[str, Any], as_json: bool) -> None:
    """Prints one event: its values in columns, or all of it as one line of JSON."""
    if as_json:
        click.echo(json.dumps(values))
        return
    first, *rest = values.items()
    label = f"{first[0]} {first[1]}"
    columns = (printable(text) for text in (label, *(value for _, value in rest)))
    click.echo("  ".join(f"{text:<{_WIDTH}}" for text in columns).rstrip())
