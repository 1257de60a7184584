"""`sealgate import`: takes in a model of another registry, or a checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from publishing.cli.publish import publish
from publishing.ready.huggingface import is_huggingface
from publishing.ready.mlflow import ARTIFACTS, MLMODEL, is_mlflow
from sealgate.cli.main import DefaultCommandGroup
from sealgate.reasons import Reason, SealgateError


class ImportGroup(DefaultCommandGroup):
    """A path without the name of a command is that of a checkpoint."""

    joined_by = "sealgate.commands.import"
    default = "checkpoint"


@click.group("import", cls=ImportGroup)
def imports() -> None:
    """Publish a model of MLflow's or Hugging Face's, or take in a checkpoint.

    `sealgate import PATH` is `sealgate import checkpoint PATH`.
    """


def model_of_run(source: Path) -> Path:
    """The model folder of MLflow's at `source`, or the only one of the run at `source`.

    Raises SealgateError(FORMAT_REFUSED).
    """
    found = [source] if is_mlflow(source) else sorted((source / ARTIFACTS).glob(f"*/{MLMODEL}"))
    if len(found) != 1:
        detail = f"{source} is no model folder of MLflow's, and no run with one model"
        raise SealgateError(Reason.FORMAT_REFUSED, detail)
    return found[0].parent if found[0].name == MLMODEL else found[0]


def model_of_hub(source: Path) -> Path:
    """The folder of Hugging Face's at `source`. Raises SealgateError(FORMAT_REFUSED)."""
    if not is_huggingface(source):
        raise SealgateError(Reason.FORMAT_REFUSED, f"{source} has no config.json of Hugging Face's")
    return source


def _publishing(name: str, whose: str, find: Callable[[Path], Path]) -> click.Command:
    """`sealgate model publish`, for one kind of folder."""

    @click.pass_context
    def run(ctx: click.Context, source: Path, **options: Any) -> None:
        ctx.invoke(publish, source=find(source), **options)

    return click.Command(
        name,
        params=publish.params,
        callback=run,
        help=f"Publish the model of {whose}.\n\nThe options, and what is done, are those of "
        "`sealgate model publish`.",
        epilog=f"\b\nExample:\n  sealgate import {name} FOLDER --data rows.safetensors",
    )


imports.add_command(_publishing("mlflow", "an MLflow model folder, or of a run", model_of_run))
imports.add_command(_publishing("huggingface", "a folder in Hugging Face's layout", model_of_hub))
