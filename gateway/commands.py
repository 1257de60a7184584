"""`sealgate serve`: the gateway as a process, until SIGTERM or SIGINT."""

import logging
import signal
import threading
from pathlib import Path

import click

from gateway.app import build
from gateway.config import GatewayConfig
from sealgate.cli.people import state_folder
from sealgate.settings import ConfigError

_LOOK_SECONDS = 0.5


@click.command(
    epilog="""
\b
Examples:
  sealgate serve
  sealgate serve --config /etc/sealgate/gateway.toml
"""
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration; default: STATE/gateway.toml.",
)
@click.pass_context
def serve(ctx: click.Context, config: Path | None) -> None:
    """Start the gateway: door, registry and engine in one process."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # It would tell of every start that no table had to be changed.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        gateway = build(GatewayConfig.read(config or state_folder(ctx) / "gateway.toml"))
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    gateway.start()
    for name, port in gateway.ports.items():
        click.echo(f"listening: {name} on port {port}")
    while not stopping.wait(_LOOK_SECONDS) and not gateway.recorder.fenced.is_set():
        pass
    click.echo("draining")
    gateway.stop()
    if gateway.recorder.fenced.is_set():
        raise click.ClickException("another gateway has taken over this installation's logs")
