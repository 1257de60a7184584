"""`sealgate serve`: the gateway, or an engine alone, as a process until SIGTERM or SIGINT."""

import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path

import click

from gateway import app, backends, security_events
from gateway.config.document import GatewayConfig
from inference.observability import tracing
from inference.server.config import EngineConfig
from sealgate.cli.context import state_folder
from sealgate.cli.main import PluginGroup
from sealgate.cli.options import FILE
from sealgate.process_log import configure
from sealgate.service_process import end_event, raise_file_limit

config_option = click.option(
    "--config", type=FILE, help="The configuration; default: STATE/gateway.toml."
)


def read_config(ctx: click.Context, config: Path | None) -> GatewayConfig:
    """Reads the configuration file that the option names. Raises: ConfigError."""
    return GatewayConfig.read(config or state_folder(ctx) / "gateway.toml")


_LOOK_SECONDS = 0.5
# Of glibc's mallopt(3).
_M_ARENA_MAX = -8


class ServeGroup(PluginGroup):
    joined_by = "sealgate.commands.serve"


@click.group(
    cls=ServeGroup,
    invoke_without_command=True,
    epilog="""
\b
Examples:
  sealgate serve
  sealgate serve --config /etc/sealgate/gateway.toml
  sealgate serve engine --config /etc/sealgate/engine.toml
""",
)
@config_option
@click.pass_context
def serve(ctx: click.Context, config: Path | None) -> None:
    """Start the gateway: listeners, registry and engine in one process."""
    if ctx.invoked_subcommand is not None:
        if config is not None:
            raise click.UsageError(f"--config goes behind {ctx.invoked_subcommand}")
        return
    _share_heaps()
    settings = read_config(ctx, config)
    configure(settings.log)
    tracing.start(settings.traces, "sealgate-gateway")
    security_events.start(settings.security_events)
    raise_file_limit()
    gateway = app.build(settings)
    stopping = end_event()
    _spare_collector()
    gateway.start()
    for name, port in gateway.ports.items():
        click.echo(f"listening: {name} on port {port}")
    while not stopping.wait(_LOOK_SECONDS) and not gateway.recorder.fenced.is_set():
        pass
    click.echo("draining")
    gateway.stop()
    security_events.stop()
    tracing.stop()
    if gateway.recorder.fenced.is_set():
        raise click.ClickException("another gateway has taken over this installation's logs")


@serve.command(
    epilog="""
\b
Examples:
  sealgate serve engine
  sealgate serve engine --config /etc/sealgate/engine.toml
  sealgate serve engine --on ray
"""
)
@click.option("--config", type=FILE, help="The configuration; default: STATE/engine.toml.")
@click.option(
    "--on",
    type=click.Choice(["ray"]),
    help="Run graphs in replicas on Ray Serve, of this machine, as [ray] says.",
)
@click.pass_context
def engine(ctx: click.Context, config: Path | None, on: str | None) -> None:
    """Start an inference engine as a process of its own, for gateways whose [engine] names it."""
    _share_heaps()
    settings = EngineConfig.read(config or state_folder(ctx) / "engine.toml")
    configure(settings.log)
    tracing.start(settings.traces, "sealgate-engine")
    raise_file_limit()
    server = (backends.build_on_ray if on else backends.build)(settings)
    stopping = end_event()
    _spare_collector()
    server.start()
    click.echo(f"listening: {server.address}")
    if server.metrics.port is not None:
        click.echo(f"metrics on port {server.metrics.port}")
    while not stopping.wait(_LOOK_SECONDS):
        pass
    click.echo("draining")
    server.stop()
    tracing.stop()


def _share_heaps() -> None:
    """Have threads share a heap for each core.

    glibc makes eight and keeps most of what a crowd needed in each. Four floods of 230,000
    connections left a gateway 230 MB larger that way, and 100 MB with a heap for each core.
    """
    with suppress(OSError, AttributeError):  # another C library has no such setting
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, os.cpu_count() or 1)


def _spare_collector() -> None:
    """Have the garbage collector look rarely, and never at what was imported, which stays anyway.

    Requests make next to no cycles; yet looking for them cost an eighth of each request, and with a
    hundred thousand objects of libraries to look through, pauses of which p99 was made. Versions
    are loaded afterwards, so that those no longer needed can still be collected.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
