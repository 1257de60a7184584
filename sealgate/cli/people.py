"""Who is using the command line: the profile that `--as` names, and a connection made with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import grpc

from sealgate.remote import Profile, ProfileError, connect


def state_folder(ctx: click.Context) -> Path:
    """The installation's folder that `--state` names."""
    return Path(ctx.find_root().obj["state"])


def profile(ctx: click.Context, default: str) -> Profile:
    """The profile that `--as` names, or else that of the role which usually does this."""
    return profile_of(ctx, ctx.find_root().obj["person"] or default)


def profile_of(ctx: click.Context, person: str) -> Profile:
    """The profile of a person: a folder of STATE/people, or a profile.toml."""
    path = Path(person)
    if path.suffix != ".toml":
        path = state_folder(ctx) / "people" / person / "profile.toml"
    try:
        return Profile.read(path)
    except ProfileError as error:
        raise click.ClickException(
            f"{error}; name a person with --as, or make an installation with `sealgate init`"
        ) from error


@contextmanager
def connected(person: Profile) -> Iterator[grpc.Channel]:
    with connect(person) as channel:
        yield channel
