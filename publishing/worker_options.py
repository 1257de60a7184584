"""The options of commands that run a model in a worker."""

import functools
from collections.abc import Callable
from typing import Any

import click

from publishing.making import Confinement
from registry.sandbox.confinement import Limits

_OPTIONS = (
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
        help="How long running the model may take.",
    ),
    click.option(
        "--unsafe-worker",
        is_flag=True,
        envvar="SEALGATE_UNSAFE_WORKER",
        help="Run the model even where this system cannot shut it in: it may then read your keys.",
    ),
)


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --memory, --seconds and --unsafe-worker; what they ask for, the command is given as
    `bounds`. Warns where that is unsafe.
    """

    @functools.wraps(command)
    def confined(*given: Any, memory: int, seconds: int, unsafe_worker: bool, **others: Any) -> Any:
        if unsafe_worker:
            warning = "warning: the model may run without being shut in (--unsafe-worker)"
            click.echo(warning, err=True)
        bounds = Confinement(Limits(memory=memory << 30, seconds=seconds), unsafe_worker)
        return command(*given, bounds=bounds, **others)

    for option in reversed(_OPTIONS):
        confined = option(confined)
    return confined
