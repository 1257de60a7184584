"""`sealgate infer`: sends one request to a model and shows the answer with its receipt."""

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from sealgate.cli.context import profile
from sealgate.cli.model_input import input_options, read_input
from sealgate.cli.options import alias_option
from sealgate.cli.output import json_option, show_rows
from sealgate.client.connection import connect, options_of


@click.command(
    epilog="""
\b
Examples:
  sealgate infer digits --input rows.npy
  sealgate infer digits --input rows.csv --alias canary --receipt receipt.json
  sealgate infer spam --text "You have won a prize"
"""
)
@click.argument("model")
@input_options
@alias_option
@click.option(
    "--allowance",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The allowance that `sealgate screen allow` wrote, if screening requires one.",
)
@click.option(
    "--receipt",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write the answer's receipt to.",
)
@json_option
@click.pass_context
def infer(
    ctx: click.Context,
    model: str,
    file: Path | None,
    texts: tuple[str, ...],
    alias: str,
    name: str | None,
    allowance: Path | None,
    receipt: Path | None,
    as_json: bool,
) -> None:
    """Send a request to MODEL and print the answer for each row, after verifying its receipt."""
    asked = read_input(file, texts, name)
    allowed = allowance.read_text() if allowance is not None else None
    person = profile(ctx, "client")
    with connect(person.endpoint, **options_of(person)) as client:
        answer = client.infer(model, asked, alias=alias, allowance=allowed)
    if receipt is not None:
        receipt.write_bytes(answer.receipt.data)
    rows = [
        {"row": index, "output": output, "value": _value(data[index], as_json)}
        for output, data in answer.outputs.items()
        for index in range(len(data))
    ]
    show_rows(rows, ("row", "output", "value"), as_json)


def _value(data: np.ndarray[Any, Any], as_json: bool) -> object:
    """Every digit for programs; two decimals for people."""
    if as_json:
        return data.tolist()
    return np.array2string(np.asarray(data), precision=2, max_line_width=sys.maxsize)
