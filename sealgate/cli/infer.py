"""`sealgate infer`: one question to a model from the command line, with its receipt."""

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from sealgate.cli.output import json_option, show_rows
from sealgate.cli.people import profile
from sealgate.client.connection import connect, options_of


@click.command(
    epilog="""
\b
Examples:
  sealgate infer digits --input rows.npy
  sealgate infer digits --input rows.csv --alias canary --receipt receipt.json
"""
)
@click.argument("model")
@click.option(
    "--input",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows of numbers: .npy, or .csv without a header.",
)
@click.option("--alias", default="production", show_default=True, help="Which pointer is meant.")
@click.option("--name", default="x", show_default=True, help="The input's name.")
@click.option(
    "--receipt",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the answer's receipt.",
)
@json_option
@click.pass_context
def infer(
    ctx: click.Context,
    model: str,
    file: Path,
    alias: str,
    name: str,
    receipt: Path | None,
    as_json: bool,
) -> None:
    """Ask MODEL, and print its answer for each row, once its receipt has been verified."""
    person = profile(ctx, "client")
    with connect(person.endpoint, **options_of(person)) as client:
        answer = client.infer(model, {name: _rows(file)}, alias=alias)
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


def _rows(file: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    try:
        if file.suffix == ".npy":
            rows = np.load(file, allow_pickle=False)
        else:
            lines = [line.split(",") for line in file.read_text().splitlines() if line.strip()]
            if len({len(line) for line in lines}) > 1:
                raise ValueError("its rows differ in length")
            rows = np.array([[float(item) for item in line] for line in lines])
    except (ValueError, EOFError) as error:
        # numpy takes whatever it cannot read for a pickle, and says how to load that.
        text = "it is not a .npy file" if file.suffix == ".npy" else str(error)
        raise click.ClickException(f"{file} does not hold rows of numbers: {text}") from error
    if not rows.size:
        raise click.ClickException(f"{file} holds no rows")
    return np.atleast_2d(rows).astype(np.float32)
