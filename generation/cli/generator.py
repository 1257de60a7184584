"""`sealgate serve generator` and `sealgate model publish-generator`."""

import importlib.util
import json
import secrets
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inference.model.config import TrainingDataInfo
from inference.observability import tracing
from publishing.cli.publish import RegistryCommitments
from publishing.watermark import mark_path, new_mark, save_mark, watermark_folder
from sealgate.cli.context import connected, profile, state_folder
from sealgate.cli.options import EXISTING_FILE, EXISTING_FOLDER, FILE
from sealgate.cli.output import ask_secret, json_option, show_fields
from sealgate.private_keys import named_key, open_signer
from sealgate.process_log import configure
from sealgate.promotion.documents import Governance
from sealgate.remote import Profile
from sealgate.remote.uploads import Uploader
from sealgate.service_process import end_event

if TYPE_CHECKING:
    from generation.publishing.builder import BuiltGenerator, GeneratorDescription
    from generation.publishing.window_choice import WindowFindings, WindowOptions

# Torch takes seconds to import, too long for `sealgate --help`; so what lacks is looked for first.
for _module in ("torch", "torchao", "transformers", "jinja2", "psutil", "onnx"):
    if importlib.util.find_spec(_module) is None:
        raise ModuleNotFoundError(f"No module named {_module!r}", name=_module)

_LOOK_SECONDS = 0.5


@click.command(
    epilog="""
\b
Examples:
  sealgate serve generator
  sealgate serve generator --config /etc/sealgate/generator.toml
"""
)
@click.option("--config", type=FILE, help="The configuration; default: STATE/generator.toml.")
@click.pass_context
def generator(ctx: click.Context, config: Path | None) -> None:
    """Start the process that generates text, for gateways whose [generator] names it."""
    from generation.config import GeneratorConfig
    from generation.serving import generator_server

    settings = GeneratorConfig.read(config or state_folder(ctx) / "generator.toml")
    configure(settings.log)
    tracing.start(settings.traces, "sealgate-generator")
    stopping, lost = end_event(), threading.Event()

    def stop_lost() -> None:
        lost.set()
        stopping.set()

    server = generator_server.build(settings, stop_lost)
    server.start()
    click.echo(f"listening: {server.address}")
    while not stopping.wait(_LOOK_SECONDS):
        pass
    click.echo("draining")
    server.stop()
    tracing.stop()
    if lost.is_set():
        raise click.ClickException("a process of a split model ended")


@click.command(
    epilog="""
\b
Example:
  sealgate model publish-generator downloads/qwen --name qwen --prompts prompts.json \\
    --data "public web text" --license Apache-2.0 --use "answers questions of staff"
"""
)
@click.argument("folder", type=EXISTING_FOLDER)
@click.option("--name", required=True, help="The model's name.")
@click.option(
    "--prompts",
    "source",
    required=True,
    type=EXISTING_FILE,
    help="A JSON list of clean prompts: four for golden answers, the others for the screen.",
)
@click.option("--description", default="", help="What the model is.")
@click.option("--use", required=True, help="What the model is meant for.")
@click.option("--data", required=True, help="What the model was trained on.")
@click.option("--license", "license_", required=True, help="The licence of the training data.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "int8", "int8-integer"]),
    default="float32",
    show_default=True,
    help="What the stored matrices are computed with: int8 rounds them as they are loaded, and "
    "int8-integer rounds what they are multiplied by to 16 bits, which is faster.",
)
@click.option(
    "--watermark-loss",
    type=click.FloatRange(0, 100),
    default=0.5,
    show_default=True,
    help="By how many percent the watermark may raise the perplexity of the prompts.",
)
@click.option(
    "--attention-window",
    "window",
    metavar="auto|TOKENS",
    help="Keep only the latest tokens of a long text in memory: TOKENS in each layer, or for each "
    "layer as many as its attention needs.",
)
@click.option(
    "--attention-texts",
    "long_texts",
    type=EXISTING_FILE,
    help="A JSON list of long texts, two or more, by which windows are chosen and checked.",
)
@click.option(
    "--attention-kept",
    "kept",
    type=click.FloatRange(0, 100, min_open=True),
    default=98.0,
    show_default=True,
    help="How many percent of the perplexity of full attention windows must keep on these texts.",
)
@click.option(
    "--attention-recall",
    "recalled",
    type=click.FloatRange(0, 100),
    default=90.0,
    show_default=True,
    help="How many percent they must keep of what full attention recalls from far behind; 0: any.",
)
@click.option(
    "--prompt-tokens",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="The most tokens that a prompt may have.",
)
@click.option(
    "--output-tokens",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="The most tokens that an answer may have.",
)
@json_option
@click.pass_context
def publish_generator(
    ctx: click.Context,
    folder: Path,
    name: str,
    source: Path,
    description: str,
    use: str,
    data: str,
    license_: str,
    precision: str,
    watermark_loss: float,
    window: str | None,
    long_texts: Path | None,
    kept: float,
    recalled: float,
    prompt_tokens: int,
    output_tokens: int,
    as_json: bool,
) -> None:
    """Mark, sign and register a language model of a folder in Hugging Face's layout.

    Weights must be safetensors, the architecture Llama's, Qwen2's or T5's. The model's watermark
    key stays with the publisher. The model's surprise at clean prompts sets the threshold for
    screening prompts. T5 cannot measure surprise, so its prompts are refused unless the policy lets
    adversarial prompts pass.
    """
    from generation.publishing.builder import GeneratorDescription

    prompts = _read_prompts(source)
    terms = (prompt_tokens, output_tokens, precision)
    about = GeneratorDescription(name, description, use, TrainingDataInfo(data, license_), *terms)
    wish = _wish(window, long_texts, kept / 100, recalled / 100)
    told = _publish(profile(ctx, "publisher"), folder, prompts, about, watermark_loss / 100, wish)
    show_fields(told, as_json)


def _publish(
    person: Profile,
    folder: Path,
    prompts: Sequence[str],
    about: "GeneratorDescription",
    largest_loss: float,
    windows: "WindowOptions | None",
) -> dict[str, Any]:
    """Build and upload a version; the mark is kept before anything is released."""
    from generation.publishing.builder import GeneratorKeys, build
    from generation.publishing.watermark import CommittedMark

    files = open_signer(named_key(person.model_signing_key, "model_signing_key"), ask_secret)
    signs = open_signer(named_key(person.signing_key), ask_secret)
    signing = GeneratorKeys(person.name, files, signs)
    marks = watermark_folder(person)
    with connected(person) as channel, tempfile.TemporaryDirectory() as place:
        governance = Governance(channel, person, lambda: datetime.now(UTC), ask_secret)

        def commit(unmarked: str) -> CommittedMark:
            mark = new_mark(marks, about.name, unmarked, secrets.token_bytes)
            entry = RegistryCommitments(governance).commit(about.name, mark.commitment)
            return CommittedMark(mark, entry)

        made, now = Path(place) / "made", datetime.now(UTC)
        built = build(folder, prompts, about, made, signing, commit, now, largest_loss, windows)
        # Kept before the release: a mark that is lost proves nothing.
        save_mark(mark_path(marks, built.mark.mark), built.mark)
        version = Uploader(channel).publish(built.package)
    number = int(version.name.rpartition("/")[2])
    told = {"model": about.name, "version": number, "digest": version.digest}
    return {**told, **_summary(built)}


def _summary(built: "BuiltGenerator") -> dict[str, object]:
    """The measurements of the model while it was marked."""
    found = built.findings
    return {
        "chats_answered": built.writes_chats,
        "prompts_screened": found.terms.screening is not None,
        "watermark_entry": built.mark.entry,
        "watermark_payload": "carried" if built.mark.worded else "presence only",
        "watermark_z_stored": round(found.marked.stored.z, 2),
        "watermark_z_int8": round(found.marked.int8.z, 2),
        "perplexity_unmarked": round(found.perplexities.unmarked, 4),
        "perplexity_marked": round(found.perplexities.marked, 4),
        "perplexity_served": round(found.perplexities.served, 4),
        **({} if found.windows is None else _of_windows(found.windows)),
    }


def _of_windows(found: "WindowFindings") -> dict[str, object]:
    memory = found.attention.equivalent(found.longest) / found.longest
    return {
        "attention": found.attention.description,
        "attention_kept": f"{found.kept:.2%}",
        "attention_recalled": f"{found.recalled:.2%}",
        "attention_memory": f"{memory:.0%} at {found.longest} tokens",
    }


def _wish(
    window: str | None, texts: Path | None, kept: float, recalled: float
) -> "WindowOptions | None":
    from generation.publishing.window_choice import WindowOptions

    if window is None:
        if texts is not None:
            raise click.UsageError("--attention-texts is for --attention-window")
        return None
    if texts is None:
        raise click.UsageError("--attention-window needs --attention-texts")
    if window != "auto" and not (window.isascii() and window.isdigit() and int(window) > 0):
        raise click.UsageError("--attention-window is auto, or a number of tokens")
    tokens = None if window == "auto" else int(window)
    return WindowOptions(_read_prompts(texts), tokens, kept=kept, recalled=recalled)


def _read_prompts(path: Path) -> list[str]:
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise click.ClickException(f"{path} is not JSON") from error
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise click.ClickException(f"{path} is not a list of texts")
    return found
