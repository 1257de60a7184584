"""Options that several commands share, and the types of arguments that are paths."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sealgate.trust.policy import DEFAULT_ALIAS

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

F = TypeVar("F", bound=Callable[..., Any])

alias_option = click.option(
    "--alias", default=DEFAULT_ALIAS, show_default=True, help="The alias to use."
)
policy_option = click.option(
    "--policy",
    "policies",
    multiple=True,
    type=EXISTING_FILE,
    help="The chain of signed policies, first to newest; default: STATE/trust/policy.json and what "
    "`sealgate policy fetch` put beside it.",
)
reason_option = click.option(
    "--reason", required=True, help="The reason, which is signed and recorded."
)
security_key_option = click.option(
    "--security-key",
    is_flag=True,
    help="Sign with a security key that is plugged in, instead of the profile's key.",
)
start_option = click.option(
    "--from", "start", type=click.IntRange(0), default=0, help="The first entry to read."
)


def list_options(command: F) -> F:
    """`--filter` and `--limit`, as `filter_` and `limit`."""
    filtering = click.option(
        "--filter",
        "filter_",
        default="",
        help="A filter: comparisons joined by AND, OR, NOT and parentheses (AIP-160).",
    )
    limiting = click.option(
        "--limit", type=click.IntRange(1), help="The maximum number of results; default: all."
    )
    return filtering(limiting(command))
