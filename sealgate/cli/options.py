"""Options that several commands share: `--alias`, and `--filter` and `--limit` of lists."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from sealgate.trust.policy import DEFAULT_ALIAS

F = TypeVar("F", bound=Callable[..., Any])


def list_options(command: F) -> F:
    """`--filter` and `--limit`, as `filter_` and `limit`."""
    filtering = click.option(
        "--filter",
        "filter_",
        default="",
        help="A filter: comparisons joined by AND, OR, NOT and parentheses (AIP-160).",
    )
    limiting = click.option(
        "--limit", type=click.IntRange(1), help="The maximum number of results."
    )
    return filtering(limiting(command))


alias_option = click.option(
    "--alias", default=DEFAULT_ALIAS, show_default=True, help="The alias to use."
)
