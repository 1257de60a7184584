"""`sealgate serve events` and `sealgate events`."""

from pathlib import Path

import click

from sealgate.cli.context import state_folder
from sealgate.cli.options import FILE
from sealgate.cli.output import HelpfulGroup, json_option, show_rows
from sealgate.events.config import EventsConfig
from sealgate.events.process import EventsProcess, open_store
from sealgate.events.store import Delivery, EventStore
from sealgate.events.webhooks import new_secret
from sealgate.process_log import configure
from sealgate.service_process import end_event
from sealgate.trust.keys import write_private_file

_COLUMNS = ("letter", "destination", "kind", "model", "time", "attempts", "error")
_LOOK_SECONDS = 0.5
config_option = click.option(
    "--config", type=FILE, help="The configuration; default: STATE/events.toml."
)


def _read(ctx: click.Context, config: Path | None) -> EventsConfig:
    return EventsConfig.read(config or state_folder(ctx) / "events.toml")


@click.command(
    "events",
    epilog="""
\b
Examples:
  sealgate serve events
  sealgate serve events --config /etc/sealgate/events.toml
  sealgate serve events --from 1200
""",
)
@config_option
@click.option(
    "--from",
    "start",
    type=click.IntRange(0),
    help="Begin at this entry of the registry's log; default: the place where it stopped.",
)
@click.pass_context
def serve_events(ctx: click.Context, config: Path | None, start: int | None) -> None:
    """Deliver events to webhooks, in a process of its own beside the gateway."""
    settings = _read(ctx, config)
    configure(settings.log)
    stopping = end_event()
    process = EventsProcess(settings, start)
    process.start()
    if process.metrics.port is not None:
        click.echo(f"metrics on port {process.metrics.port}")
    click.echo(f"delivering to {', '.join(each.name for each in settings.destinations)}")
    # A signal that a thread of gRPC's takes does not end a wait.
    while not stopping.wait(_LOOK_SECONDS):
        pass
    process.stop()


@click.group(cls=HelpfulGroup)
def events() -> None:
    """Create webhook secrets; list, retry and drop dead letters."""


# Also where only the base package is installed, which has no `sealgate serve`.
events.add_command(serve_events, "serve")


@events.command(
    epilog="""
\b
Examples:
  sealgate events secret secrets/ops.key
"""
)
@click.argument("file", type=FILE)
def secret(file: Path) -> None:
    """Write a secret to a new FILE that only you can read; give its content to the receiver."""
    write_private_file(file, f"{new_secret()}\n".encode())
    click.echo(f"{file}: show its content to the receiver alone")


@events.command(
    epilog="""
\b
Examples:
  sealgate events dead
  sealgate events dead --json
"""
)
@config_option
@json_option
@click.pass_context
def dead(ctx: click.Context, config: Path | None, as_json: bool) -> None:
    """List the deliveries that were given up, the oldest first."""
    store = _open(ctx, config)
    show_rows([_row(letter) for letter in store.dead_letters()], _COLUMNS, as_json)


_letters = click.argument("letters", nargs=-1, type=int)
_all = click.option("--all", "every", is_flag=True, help="All of them.")
_destination = click.option("--destination", help="Only those for this destination.")


@events.command(
    epilog="""
\b
Examples:
  sealgate events retry 17
  sealgate events retry --all --destination ops
"""
)
@_letters
@_all
@_destination
@config_option
@click.pass_context
def retry(
    ctx: click.Context,
    letters: tuple[int, ...],
    every: bool,
    destination: str | None,
    config: Path | None,
) -> None:
    """Deliver dead letters again, by the numbers that `dead` shows.

    A running process takes them up within a second or two. They come after what was delivered
    meanwhile.
    """
    store = _open(ctx, config)
    chosen = _chosen(store, letters, every, destination)
    store.retry(chosen)
    click.echo(f"{len(chosen)} to be delivered again")


@events.command(
    epilog="""
\b
Examples:
  sealgate events drop 17
  sealgate events drop --all --destination former
"""
)
@_letters
@_all
@_destination
@config_option
@click.pass_context
def drop(
    ctx: click.Context,
    letters: tuple[int, ...],
    every: bool,
    destination: str | None,
    config: Path | None,
) -> None:
    """Delete dead letters for good, by the numbers that `dead` shows."""
    store = _open(ctx, config)
    chosen = _chosen(store, letters, every, destination)
    store.drop(chosen)
    click.echo(f"{len(chosen)} deleted")


def _open(ctx: click.Context, config: Path | None) -> EventStore:
    settings = _read(ctx, config)
    if not settings.state.database.exists():
        raise click.ClickException(f"{settings.state.database} is not there yet")
    return open_store(settings)


def _chosen(
    store: EventStore, numbers: tuple[int, ...], every: bool, destination: str | None
) -> list[Delivery]:
    if bool(numbers) == every:
        raise click.UsageError("name letters, or give --all")
    letters = [
        letter for letter in store.dead_letters() if destination in (None, letter.destination)
    ]
    known = {letter.number for letter in letters}
    if unknown := sorted(set(numbers) - known):
        raise click.ClickException(f"there is no dead letter {unknown[0]}")
    return [letter for letter in letters if every or letter.number in numbers]


def _row(letter: Delivery) -> dict[str, object]:
    shown = {name: getattr(letter, name) for name in _COLUMNS[1:]}
    return {"letter": letter.number, "id": letter.id} | shown
