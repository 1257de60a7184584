"""`sealgate infer`: sends one request to a model and shows the answer with its receipt."""

import csv
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from sealgate.cli.context import profile
from sealgate.cli.options import EXISTING_FILE, FILE, alias_option
from sealgate.cli.outcome import keep_answer
from sealgate.cli.output import json_option, show_rows, warn_unscreened
from sealgate.client.client import Client, connect, options_of
from sealgate.oip.grpc_service_pb2 import ModelMetadataResponse
from sealgate.reasons import SealgateError
from sealgate.tensors import DTYPES
from sealgate.trust.policy import DEFAULT_ALIAS

Rows = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def read_input(file: Path | None, texts: tuple[str, ...], name: str | None) -> dict[str, Any]:
    """The one input by its name: a file's rows as `x`, or texts as `text`, unless named.

    Raises click.UsageError where there are both or neither, and like `read_rows`.
    """
    if (file is None) is not bool(texts):
        raise click.UsageError("either --input or --text says what is asked")
    if file is not None:
        return {name or "x": read_rows(file)}
    return {name or "text": np.array([text.encode() for text in texts], object)}


def read_table(file: Path) -> dict[str, list[str]] | None:
    """The columns of a .csv with a header, as text by name; None where the first line is numbers.

    Raises click.ClickException where lines differ in length, or there is no row.
    """
    if file.suffix != ".csv":
        return None
    with file.open(newline="", encoding="utf-8") as opened:
        lines = [line for line in csv.reader(opened) if line]
    if not lines or _is_number(lines[0][0]):
        return None
    header, *rows = lines
    if not rows or {len(row) for row in rows} != {len(header)}:
        raise click.ClickException(f"{file} has no rows, or rows of other lengths than its header")
    return {name.strip(): [row[at].strip() for row in rows] for at, name in enumerate(header)}


def tensors_of(columns: Mapping[str, list[str]], metadata: ModelMetadataResponse) -> dict[str, Any]:
    """A table's columns as the tensors that a model takes: by name, or all in its one input.

    Raises click.ClickException for a column that is none of its inputs, or no number.
    """
    taken = {each.name: each for each in metadata.inputs}
    try:
        if len(taken) == 1 and not taken.keys() & columns.keys():
            rows = [[float(text) for text in row] for row in zip(*columns.values(), strict=True)]
            return {next(iter(taken)): np.array(rows, np.float32)}
        if unknown := sorted(columns.keys() - taken.keys()):
            raise click.ClickException(f"the model takes {', '.join(taken)}, no {unknown[0]}")
        return {name: _tensor(texts, taken[name]) for name, texts in columns.items()}
    except ValueError as error:
        raise click.ClickException(f"a column holds no numbers: {error}") from error


def _tensor(texts: list[str], taken: ModelMetadataResponse.TensorMetadata) -> Any:
    shape = (len(texts), *list(taken.shape)[1:])
    if taken.datatype == "BYTES":
        return np.array([text.encode() for text in texts], object).reshape(shape)
    kind = DTYPES[taken.datatype]
    whole = kind.kind in "iub"
    return np.array([int(each) if whole else float(each) for each in texts], kind).reshape(shape)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --input, --text and --name, of which `read_input` makes the input."""
    for option in (
        click.option(
            "--name", help="The input's name; x for rows and text for texts unless given."
        ),
        click.option("--text", "texts", multiple=True, help="A text, where the model takes texts."),
        click.option(
            "--input",
            "file",
            type=EXISTING_FILE,
            help="Rows: .npy, or .csv. A header names the model's inputs.",
        ),
    ):
        command = option(command)
    return command


def read_rows(file: Path) -> Rows:
    """The rows of a .npy file, or of a .csv without a header, as float32 [n, …].

    Raises click.ClickException for anything else.
    """
    try:
        rows: Any
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
    type=EXISTING_FILE,
    help="The allowance that `sealgate screen allow` wrote, if screening requires one.",
)
@click.option("--receipt", type=FILE, help="The file to write the answer's receipt to.")
@click.option(
    "--keep", type=FILE, help="A file to append the answer to, for `sealgate outcome report`."
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
    keep: Path | None,
    as_json: bool,
) -> None:
    """Send a request to MODEL and print the answer for each row, after verifying its receipt."""
    table = None if file is None else read_table(file)
    asked = {} if table is not None else read_input(file, texts, name)
    allowed = allowance.read_text() if allowance is not None else None
    person = profile(ctx, "client")
    with connect(person.endpoint, **options_of(person)) as client:
        if table is not None:
            asked = tensors_of(table, client.metadata(model))
        elif file is not None and name is None:
            # A model that was made elsewhere calls its input as it likes.
            first = client.metadata(model).inputs[:1]
            asked = {each.name: asked["x"] for each in first} or asked
        answer = client.infer(model, asked, alias=alias, allowance=allowed)
        labels = _labels(client, model, None if alias == DEFAULT_ALIAS else answer.version)
    warn_unscreened(answer.receipt.fields.get("screening"))
    if receipt is not None:
        receipt.write_bytes(answer.receipt.data)
    if keep is not None:
        keep_answer(keep, answer)
    rows: list[dict[str, Any]] = [
        {"row": index, "output": output, "value": _value(data[index], as_json)}
        for output, data in answer.outputs.items()
        for index in range(len(data))
    ]
    if labels and len(answer.outputs) == 1:
        for row, found in zip(rows, answer.classes.ravel().tolist(), strict=True):
            row["label"] = labels.get(found, "")
    columns = ("row", "output", "value", "label") if labels else ("row", "output", "value")
    show_rows([{"label": "", **row} for row in rows] if labels else rows, columns, as_json)


def _labels(client: Client, model: str, version: int | None) -> dict[int, str]:
    """The classes' labels by the gateway's word: no receipt proves them. Empty where it says
    nothing, or where the caller may not ask for this version's metadata.
    """
    try:
        properties = client.metadata(model, version).properties
        # Numbers and several labels have no likeliest class.
        if properties.get("answer", "classes") != "classes":
            return {}
        told = json.loads(properties.get("labels", "[]"))
    except (SealgateError, ValueError):
        return {}
    return {number: str(label) for number, label in enumerate(told if type(told) is list else ())}


def _value(data: np.ndarray[Any, Any], as_json: bool) -> object:
    """Every digit for programs; two decimals for people."""
    if as_json:
        return data.tolist()
    return np.array2string(np.asarray(data), precision=2, max_line_width=sys.maxsize)
