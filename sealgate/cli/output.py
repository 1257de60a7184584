"""What the command line prints: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], as_json: bool) -> None:
    """Prints one row a mapping; in JSON, a list of all their fields."""
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = list(columns)
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(str(row[name]) for name in names))
    Console(highlight=False).print(table)


def ask_secret(place: str) -> str:
    """Asks for the passphrase or PIN of a key, without showing it."""
    return str(click.prompt(f"Passphrase or PIN of {place}", hide_input=True, err=True))


def show_fields(values: Mapping[str, Any], as_json: bool) -> None:
    """Prints one thing, a field a line."""
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    width = max(len(name) for name in values)
    for name, value in values.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {value}")
