"""`--config`, as commands have it that need a gateway's configuration."""

from pathlib import Path

import click

from gateway.config import GatewayConfig
from sealgate.cli.people import state_folder

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration; default: STATE/gateway.toml.",
)


def read_config(ctx: click.Context, config: Path | None) -> GatewayConfig:
    """What the option names. Raises: ConfigError."""
    return GatewayConfig.read(config or state_folder(ctx) / "gateway.toml")
