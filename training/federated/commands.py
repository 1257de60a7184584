"""`sealgate federate`: federated training with secure aggregation."""

import importlib.util
import signal
import sys
from pathlib import Path

import click

from sealgate.cli.output import json_option, show_fields

for _module in ("torch", "sklearn", "onnxscript", "opacus", "flwr"):
    if importlib.util.find_spec(_module) is None:
        raise ModuleNotFoundError(f"No module named {_module!r}", name=_module)


@click.command(
    epilog="""
\b
Example:
  sealgate federate demo/recipes/digits-federated.toml --out made/federated
  sealgate model publish made/federated/model --data made/federated/data.safetensors
"""
)
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to make; must be new.",
)
@json_option
def federate(recipe: Path, out: Path, as_json: bool) -> None:
    """Train with clients that each keep their rows: secure sums, and a rule against poisoners.

    Server and clients run as processes of this machine. OUT is as of `sealgate train`.
    """
    from training.federated.federation import Federation

    # Clean up on SIGTERM too: the folder holds clients' rows and keys.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    made = Federation(recipe, out, _tell).make()
    report = made.report
    shown = {
        "model": str(made.model),
        "data": str(made.data),
        "accuracy": round(report["accuracy"], 4),
        "calibration_error": round(report["reliability"]["error"], 4),
        "clients": report["federated"]["clients"],
        "rounds": len(report["federated"]["rounds"]),
    }
    if report["privacy"]:
        shown["epsilon"] = round(report["privacy"]["epsilon"], 3)
    show_fields(shown, as_json)


def _tell(step: str, news: object) -> None:
    click.echo(f"{step:<12} {news}", err=True)
