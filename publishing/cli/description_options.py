"""Options that describe a ready model, which is a file and has no `model.json`."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from inference.model.columns import Column, decode_columns
from inference.model.config import TrainingDataInfo
from publishing.ready.description import ModelDescription
from publishing.source.folder import read_plain_file
from sealgate.reasons import SealgateError
from sealgate.trust import fields

INT8, FLOAT32 = PRECISIONS = ("int8", "float32")


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
    click.option("--labels", type=_Words(), help="The names of the classes, in their order."),
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


def description_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds options that describe a model; what they say, the command is given as `described`, a
    function of the model's path and precision.
    """

    @functools.wraps(command)
    def described(*given: Any, **options: Any) -> Any:
        names = [option for option in options if option in _NAMES]
        said = {name: options.pop(name) for name in names}
        return command(*given, described=functools.partial(_description, said), **options)

    for option in reversed(_OPTIONS):
        described = option(described)
    return described


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
    }
)


def _description(said: dict[str, Any], path: Path, precision: str | None) -> ModelDescription:
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
    )
