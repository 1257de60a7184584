"""Options shared by commands that run a model in a worker, and files that they write anew."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from publishing.pipeline.files import LARGEST_LOSS
from publishing.ready.model_signature import TrustedSigners
from publishing.source.folder import read_plain_file
from registry.sandbox.confinement import Confinement, SandboxLimits
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import write_private_file
from sealgate.trust.policy import Policy

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
        bounds = Confinement(SandboxLimits(memory=memory << 30, seconds=seconds), unsafe_worker)
        return command(*given, bounds=bounds, **others)

    for option in reversed(_OPTIONS):
        confined = option(confined)
    return confined


trusted_root_option = click.option(
    "--trusted-root",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Sigstore's trusted_root.json, where an imported folder was signed by an identity; the "
    "policy pins its digest (section `model_signers`).",
)


def trusted_signers(policy: Policy, trusted_root: Path | None) -> TrustedSigners:
    """Whose signatures of imported folders count."""
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


def write_new(path: Path, data: bytes) -> None:
    """Write a new file for its owner only. Raises SealgateError(KEY_FILE_EXISTS) if one has
    appeared, and OSError.
    """
    write_private_file(path, data)
