"""`sealgate train` and `sealgate import`: make a folder that can be published."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inference.model.config import TrainingDataInfo
from sealgate.cli.options import EXISTING_FILE, FOLDER
from sealgate.cli.output import json_option, show_fields

if TYPE_CHECKING:
    from training.run.finishing import ImportDescription

# Torch takes seconds to import, too long for `sealgate --help`; so what lacks is looked for first.
for _module in ("torch", "accelerate", "sklearn", "onnxscript", "matplotlib", "safetensors"):
    if importlib.util.find_spec(_module) is None:
        raise ModuleNotFoundError(f"No module named {_module!r}", name=_module)


_HOW = {"classifier": "import it with --name, --use, --data and --license"}
_HOW_TEXT = "the copy itself, by `sealgate model publish-generator`"


@click.command(
    epilog="""
\b
Example:
  sealgate train demo/recipes/digits.toml --out made/digits
  sealgate model publish made/digits/model --data made/digits/data.safetensors
"""
)
@click.argument("recipe", type=EXISTING_FILE)
@click.option(
    "--out",
    required=True,
    type=FOLDER,
    help="The folder to write; a run that this recipe began there is continued.",
)
@json_option
def train(recipe: Path, out: Path, as_json: bool) -> None:
    """Follow a recipe: distil, harden, certify, quantize in training, make private.

    OUT/model and OUT/data.safetensors are what `sealgate model publish` takes; of a language model,
    OUT/model and OUT/prompts.json what `publish-generator` takes. After a kill, the same command
    goes on from the last checkpoint.
    """
    from training.run.recipe_run import RecipeRun

    made = RecipeRun(recipe, out, _tell).make()
    report = made.report
    shown = {
        "model": str(made.model),
        "data": str(made.data),
        "parameters": report["parameters"],
    }
    if "perplexity" in report:
        shown["perplexity"] = round(report["perplexity"], 3)
    else:
        shown["accuracy"] = round(report["accuracy"], 4)
        shown["calibration_error"] = round(report["reliability"]["error"], 4)
    if "certified" in report:
        shown["certified"] = round(report["certified"]["share"], 4)
        shown["certified_within"] = report["certified"]["within"]
    if "search" in report:
        shown["student"] = str(out / "student.toml")
    if report["privacy"]:
        shown["epsilon"] = round(report["privacy"]["epsilon"], 3)
    show_fields(shown, as_json)


@click.command(
    "checkpoint",
    epilog="""
\b
Example:
  sealgate import downloads/minilm --out teachers/minilm
  sealgate import downloads/qwen --out teachers/qwen --graphs made/qwen
  sealgate import downloads/triage --out taken/triage --graphs made/triage --name triage \\
    --use "sorts letters for people to answer" --data "letters of 2025" --license CC0-1.0
  sealgate model publish made/triage --data slices.safetensors
""",
)
@click.argument("path")
@click.option("--out", required=True, type=FOLDER, help="Where the private copy goes; must be new.")
@click.option(
    "--graphs",
    type=FOLDER,
    help="Also make ONNX graphs of it here: BERT with a head, Llama, Qwen2, T5; must be new.",
)
@click.option("--name", help="The model's name, to publish a classifier.")
@click.option("--description", default="", help="What the model is.")
@click.option("--use", help="What the model is meant for.")
@click.option("--data", help="What the model was trained on.")
@click.option("--license", "license_", help="The licence of the training data.")
@click.option(
    "--tokens", type=click.IntRange(2), help="The most tokens of a text; default: all it takes."
)
@click.option(
    "--eps",
    type=click.FloatRange(0, min_open=True),
    help="Screening's step; default: 3% of the spread of its word embeddings.",
)
@json_option
def import_checkpoint(
    path: str,
    out: Path,
    graphs: Path | None,
    name: str | None,
    description: str,
    use: str | None,
    data: str | None,
    license_: str | None,
    tokens: int | None,
    eps: float | None,
    as_json: bool,
) -> None:
    """Take in a checkpoint: a folder in Hugging Face's layout, or a name on its hub.

    Weights must be safetensors. Pickled ones, and code that comes along, are never read. Recipes
    name the copy as a teacher's or a student's path. Where making graphs fails, the copy stays.
    With --name, --use, --data and --license the graphs of a classifier are a folder that `sealgate
    model publish` takes; a language model's copy is what `publish-generator` takes.
    """
    from training.models import checkpoints

    stated = [name, use, data, license_]
    if any([*stated, description, tokens, eps]) and not (graphs and all(stated)):
        raise click.UsageError("--name, --use, --data and --license go together, with --graphs")
    if checkpoints.is_hub_name(path):
        found = checkpoints.fetch(path, out)
    else:
        found = checkpoints.take_in(Path(path), out)
    for left in found.ignored:
        click.echo(f"left out     {left}", err=True)
    shown = {"folder": str(out), "files": len(found.files), "digest": found.digest}
    if graphs is not None:
        from training.run.finishing import ImportDescription

        about = None
        if name and use and data and license_:
            described = description or f"imported: {found.origin}"
            info = TrainingDataInfo(data, license_)
            about = ImportDescription(name, described, use, info, tokens or 0, eps or 0.0)
        shown |= _graphs(out, graphs, about)
    show_fields(shown, as_json)


def _graphs(out: Path, graphs: Path, about: "ImportDescription | None") -> dict[str, str]:
    """Write the graphs of the copy in `out`; says how to publish where nothing describes them."""
    from training.run.import_checkpoint import write_graphs

    family = write_graphs(out, graphs, about)
    if about is None:
        click.echo(f"to publish   {_HOW.get(family, _HOW_TEXT)}", err=True)
    return {"graphs": str(graphs), "family": family}


def _tell(step: str, news: object) -> None:
    from training.steps.descent import StepProgress

    if isinstance(news, StepProgress):
        minutes, seconds = divmod(round(news.seconds_left), 60)
        news = f"{news.done}/{news.total} steps, loss {news.loss:.4f}, {minutes}:{seconds:02} left"
    click.echo(f"{step:<12} {news}", err=True)
