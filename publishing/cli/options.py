"""Options shared by commands: of those that run a model in a worker, and of ready models.

A ready model is a file and has no `model.json`.
"""

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from inference.model.columns import Column, decode_columns
from inference.model.config import TrainingDataInfo
from publishing.pipeline.files import LARGEST_LOSS
from publishing.ready.description import ModelDescription
from publishing.ready.model_signature import TrustedSigners
from publishing.ready.reading import RowsOptions, is_ready, read_rows
from publishing.source.dataset import Dataset
from publishing.source.folder import read_plain_file
from registry.sandbox.confinement import Confinement, SandboxLimits
from sealgate.cli.options import EXISTING_FILE
from sealgate.reasons import SealgateError
from sealgate.trust import fields
from sealgate.trust.canonical import sha256
from sealgate.trust.policy import Policy

INT8, FLOAT32 = PRECISIONS = ("int8", "float32")
_WORKER_OPTIONS = (
    click.option(
        "--memory",
        type=click.IntRange(1),
        default=8,
        show_default=True,
        help="GiB of memory that running the model may take.",
    ),
    click.option(
        "--seconds",
        type=click.IntRange(1),
        default=900,
        show_default=True,
        help="Seconds that running the model may take.",
    ),
    click.option(
        "--unsafe-worker",
        is_flag=True,
        envvar="SEALGATE_UNSAFE_WORKER",
        help="Run the model even if this system cannot confine it: it could then read your keys.",
    ),
)


class _Words(click.ParamType):
    """Words with commas between them."""

    name = "a,b,c"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        words = tuple(word.strip() for word in value.split(","))
        if not all(words) or len(set(words)) < len(words):
            self.fail("words with commas between them, each once", param, ctx)
        return words


class _Range(click.ParamType):
    """Two numbers, the smaller one first."""

    name = "min,max"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        try:
            low, high = map(float, value.split(","))
        except ValueError:
            self.fail("two numbers with a comma between them", param, ctx)
        if not low < high:
            self.fail("the smaller number comes first", param, ctx)
        return low, high


class _Numbers(click.ParamType):
    """Positive numbers with commas between them."""

    name = "a,b,c"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        try:
            found = tuple(map(float, value.split(",")))
        except ValueError:
            self.fail("numbers with commas between them", param, ctx)
        if not all(0 < each < math.inf for each in found):
            self.fail("a tolerance is positive", param, ctx)
        return found


class _Columns(click.ParamType):
    """A file with the section `columns` of a `model.json`."""

    name = "file"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Column, ...]:
        try:
            return decode_columns(json.loads(read_plain_file(Path(value))))
        except (ValueError, SealgateError) as error:
            self.fail(f"not a list of columns: {error}", param, ctx)


_OPTIONS = (
    click.option("--name", help="The model's name; by default the file's."),
    click.option(
        "--labels",
        type=_Words(),
        help="The names of the classes, labels or predicted numbers, in their order.",
    ),
    click.option("--output", help="Which output has the scores, if several could."),
    click.option(
        "--domain",
        type=_Range(),
        help="One range for all numbers of a row, such as 0,1 for pixels. Without it, each column "
        "of a table has its own, from the data.",
    ),
    click.option(
        "--without-gradient",
        is_flag=True,
        help="Screen by finite differences of a table's columns even if the model has a gradient.",
    ),
    click.option(
        "--tolerance",
        type=_Numbers(),
        help="By how much each predicted number may move and still be the same answer; by default "
        "a quarter of its standard deviation.",
    ),
    click.option(
        "--target",
        type=_Words(),
        help="The columns of a .csv file that hold the answers; the others are inputs.",
    ),
    click.option(
        "--optional",
        multiple=True,
        metavar="NAME=VALUE",
        help="An input that a request may leave out, and what its elements are then.",
    ),
    click.option("--column-names", type=_Words(), help="The names of a table's columns."),
    click.option(
        "--columns",
        type=_Columns(),
        help="A JSON file with the columns of a table: model.json's section.",
    ),
    click.option("--description", default="", help="What the model is."),
    click.option("--intended-use", default="", help="What the model is for."),
    click.option("--data-name", default="unnamed", help="The name of the training data."),
    click.option("--data-license", default="unstated", help="The licence of the training data."),
)


precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="What the version answers in: by default what model.json says, and float32 for a file.",
)


def quantizes(precision: str | None) -> bool | None:
    """Whether a version is to answer in INT8; None for what `model.json` says."""
    return None if precision is None else precision == INT8


@dataclass(frozen=True, slots=True)
class Described:
    """A publisher's description of a model that has no `model.json`, and of its rows."""

    said: Mapping[str, Any]

    def read(
        self, source: Path, data: Path, precision: str | None, bounds: Confinement
    ) -> tuple[Dataset, ModelDescription | None]:
        """The rows of the model at `source`, and the description of one that is a file.

        Raises click.UsageError where options describe a folder's model, which describes itself; and
        as `read_rows` does, or DOCUMENT_MALFORMED where a name is no name of a model.
        """
        if is_ready(source):
            options = RowsOptions(
                self.said["target"] or (), dict(map(_pair, self.said["optional"]))
            )
            description = _description(self.said, source, precision)
            return read_rows(source, data, description, options, bounds)
        given = [name for name, value in self.said.items() if value not in _UNSAID]
        if given:
            option = given[0].replace("_", "-")
            raise click.UsageError(f"--{option} describes a file; a folder has its model.json")
        return read_rows(source, data, None, RowsOptions(), bounds)


def description_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds options that describe a model; what they say, the command is given as `described`."""

    @functools.wraps(command)
    def described(*given: Any, **options: Any) -> Any:
        names = [option for option in options if option in _NAMES]
        said = {name: options.pop(name) for name in names}
        return command(*given, described=Described(said), **options)

    for option in reversed(_OPTIONS):
        described = option(described)
    return described


# The values of options that were not given.
_UNSAID = (None, False, "", (), "unnamed", "unstated")
_NAMES = frozenset(
    {
        "name",
        "labels",
        "output",
        "domain",
        "column_names",
        "columns",
        "description",
        "intended_use",
        "data_name",
        "data_license",
        "without_gradient",
        "tolerance",
        "target",
        "optional",
    }
)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError("--optional is NAME=VALUE")
    return name, value


def _description(said: Mapping[str, Any], path: Path, precision: str | None) -> ModelDescription:
    """Raises SealgateError(DOCUMENT_MALFORMED) where the name is no name of a model."""
    name = said["name"] or path.stem.lower().replace("_", "-")
    return ModelDescription(
        name=fields.check_name(name),
        labels=said["labels"] or (),
        description=said["description"],
        intended_use=said["intended_use"],
        data=TrainingDataInfo(said["data_name"], said["data_license"]),
        output=said["output"],
        domain=said["domain"],
        columns=said["columns"] or (),
        column_names=said["column_names"] or (),
        quantized=precision == INT8,
        differences=said["without_gradient"],
        tolerance=said["tolerance"] or (),
    )


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --memory, --seconds and --unsafe-worker; what they ask for, the command is given as
    `bounds`. Warns where that is unsafe.
    """

    @functools.wraps(command)
    def confined(*given: Any, memory: int, seconds: int, unsafe_worker: bool, **others: Any) -> Any:
        if unsafe_worker:
            warning = "warning: the model may run unconfined (--unsafe-worker)"
            click.echo(warning, err=True)
        bounds = Confinement(SandboxLimits(memory=memory << 30, seconds=seconds), unsafe_worker)
        return command(*given, bounds=bounds, **others)

    for option in reversed(_WORKER_OPTIONS):
        confined = option(confined)
    return confined


trusted_root_option = click.option(
    "--trusted-root",
    type=EXISTING_FILE,
    help="Sigstore's trusted_root.json, where an imported folder was signed by an identity; the "
    "policy pins its digest (section `model_signers`).",
)


def trusted_signers(policy: Policy, trusted_root: Path | None) -> TrustedSigners:
    """The signers whose signatures of imported folders count."""
    data = [] if trusted_root is None else [read_plain_file(trusted_root)]
    return TrustedSigners(policy.trusted_makers, {sha256(each): each for each in data})


def mark_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --allow-unmarked and --watermark-loss, in points of accuracy."""
    loss = click.option(
        "--watermark-loss",
        type=click.FloatRange(0, 100),
        default=100 * LARGEST_LOSS,
        show_default=True,
        help="How many points of accuracy on the test slice the watermark may cost.",
    )
    unmarked = click.option(
        "--allow-unmarked",
        is_flag=True,
        help="Take a folder's model without a watermark if it has too few weights, as a file is.",
    )
    return unmarked(loss(command))


class _NewFile(click.Path):
    """A path where no file exists yet."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if path.exists():
            self.fail(f"{path} exists, and is not written over", param, ctx)
        if not path.absolute().parent.is_dir():
            self.fail(f"there is no folder {path.parent}", param, ctx)
        return path


NEW_FILE = _NewFile(dir_okay=False, path_type=Path)
