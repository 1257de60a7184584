"""`sealgate infer`: one question to a model from the command line, with its receipt."""

from pathlib import Path

import click
import numpy as np

from sealgate.cli.output import json_option, show_rows
from sealgate.cli.people import connected, profile
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.tensors import Tensor, read_outputs


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
@click.option("--alias", default="production", show_default=True)
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
    """Ask MODEL, and print its answer for each row."""
    request = oip.ModelInferRequest(model_name=model)
    request.parameters["alias"].string_param = alias
    request.parameters["receipt"].bool_param = receipt is not None
    tensor = Tensor.of(name, _rows(file))
    request.inputs.add(name=name, datatype=tensor.datatype, shape=tensor.shape)
    request.raw_input_contents.append(tensor.raw)
    with connected(profile(ctx, "client")) as channel:
        response = GRPCInferenceServiceStub(channel).ModelInfer(request)
    if receipt is not None:
        receipt.write_text(response.parameters["receipt"].string_param)
    outputs = read_outputs(response)
    rows = [
        {"row": index, "output": output.name, "value": output.data[index].tolist()}
        for output in outputs.values()
        for index in range(output.shape[0])
    ]
    show_rows(rows, ("row", "output", "value"), as_json)


def _rows(file: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    try:
        if file.suffix == ".npy":
            rows = np.load(file, allow_pickle=False)
        else:
            rows = np.loadtxt(file, delimiter=",", ndmin=2)
        return np.atleast_2d(rows).astype(np.float32)
    except ValueError as error:
        raise click.ClickException(f"{file} does not hold rows of numbers: {error}") from error
