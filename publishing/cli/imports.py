"""`sealgate import`: takes in a model of another registry, or a checkpoint."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click

from publishing.cli.publish import publish
from publishing.ready.mlflow import ARTIFACTS, MLMODEL, is_mlflow
from publishing.ready.mlflow_download import download, is_uri
from publishing.ready.reading import is_huggingface
from sealgate.cli.main import DefaultCommandGroup
from sealgate.cli.options import EXISTING
from sealgate.reasons import Reason, SealgateError


class ImportGroup(DefaultCommandGroup):
    """A path without the name of a command is that of a checkpoint."""

    joined_by = "sealgate.commands.import"
    default = "checkpoint"


@click.group("import", cls=ImportGroup)
def imports() -> None:
    """Publish a model from MLflow or Hugging Face, or import a checkpoint.

    `sealgate import PATH` is `sealgate import checkpoint PATH`.
    """


class _Place(click.Path):
    """A path or a `file:` URI of what exists, or a URI of MLflow's, which stays a text."""

    name = "folder or uri"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        if isinstance(value, str) and is_uri(value):
            return value
        if isinstance(value, str) and value.startswith("file:"):
            value = unquote(urlsplit(value).path)
        return Path(str(super().convert(value, param, ctx)))


def model_of_run(source: Path) -> Path:
    """The model folder of MLflow's at `source`; or the only one of the run, or of the logged model
    of MLflow 3, at `source`.

    Raises SealgateError(FORMAT_REFUSED).
    """
    artifacts = source / ARTIFACTS
    folders = [source, artifacts, *sorted(each.parent for each in artifacts.glob(f"*/{MLMODEL}"))]
    found = [folder for folder in folders if is_mlflow(folder)]
    if len(found) != 1:
        detail = f"{source} is no model folder of MLflow's, and no run with one model"
        raise SealgateError(Reason.FORMAT_REFUSED, detail)
    return found[0]


def model_of_hub(source: Path) -> Path:
    """The folder of Hugging Face's at `source`. Raises SealgateError(FORMAT_REFUSED)."""
    if not is_huggingface(source):
        raise SealgateError(Reason.FORMAT_REFUSED, f"{source} has no config.json of Hugging Face's")
    return source


@contextmanager
def _fetched(source: Path | str, find: Callable[[Path], Path], seconds: int) -> Iterator[Path]:
    """The folder of the model, which is gone afterwards if it had to be downloaded."""
    if isinstance(source, Path):
        yield find(source)
        return
    with tempfile.TemporaryDirectory(prefix="sealgate-mlflow-") as place:
        click.echo(f"{'download':<12} {source}", err=True)
        yield find(download(source, Path(place), seconds))


def _publishing(
    name: str, whose: str, example: str, kind: click.ParamType, find: Callable[[Path], Path]
) -> click.Command:
    """`sealgate model publish`, for one kind of folder."""

    @click.pass_context
    def run(ctx: click.Context, source: Path | str, **options: Any) -> None:
        with _fetched(source, find, options["seconds"]) as folder:
            if folder.name == ARTIFACTS and not options["name"]:
                detail = f"--name names the model: its folder is called {ARTIFACTS}"
                raise click.UsageError(detail)
            ctx.invoke(publish, source=folder, **options)

    argument = click.Argument(["source"], type=kind)
    return click.Command(
        name,
        params=[argument, *(each for each in publish.params if each.name != "source")],
        callback=run,
        help=f"Publish the model of {whose}.\n\nThe options, and what is done, are those of "
        "`sealgate model publish`.",
        epilog=f"\b\nExample:\n  sealgate import {name} {example} --data rows.safetensors",
    )


_MLFLOW = (
    "an MLflow model folder, or of a run; or the one that a URI names in the tracking store of"
    " MLFLOW_TRACKING_URI: runs:/RUN/PATH, models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID"
    " or mlflow-artifacts:/PATH (extra mlflow)"
)
imports.add_command(
    _publishing("mlflow", _MLFLOW, "models:/credit@champion", _Place(exists=True), model_of_run)
)
imports.add_command(
    _publishing(
        "huggingface", "a folder in Hugging Face's layout", "FOLDER", EXISTING, model_of_hub
    )
)
