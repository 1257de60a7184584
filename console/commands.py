"""`sealgate serve console` and `sealgate console link`."""

import logging
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from console.app import build, server
from console.config import ConsoleConfig
from console.views import Console
from sealgate.cli.context import state_folder
from sealgate.cli.options import FILE
from sealgate.cli.output import HelpfulGroup
from sealgate.process_log import configure
from sealgate.service_process import on_hangup, raise_file_limit
from sealgate.setup.credentials import mint_token
from sealgate.setup.people import SIGN_IN, write_link
from sealgate.trust.keys.certificate_identity import thumbprint

_log = logging.getLogger(__name__)
_TIDY_SECONDS = 60.0
config_option = click.option(
    "--config", type=FILE, help="The configuration; default: STATE/console.toml."
)


def _read(ctx: click.Context, config: Path | None) -> ConsoleConfig:
    return ConsoleConfig.read(config or state_folder(ctx) / "console.toml")


@click.command(
    "console",
    epilog="""
\b
Examples:
  sealgate serve console
  sealgate serve console --config /etc/sealgate/console.toml
""",
)
@config_option
@click.pass_context
def serve_console(ctx: click.Context, config: Path | None) -> None:
    """Start the web console, a process of its own beside the gateway."""
    settings = _read(ctx, config)
    configure(settings.log)
    raise_file_limit()
    app = build(settings)
    click.echo(f"console: {settings.listen.origin}")
    threading.Thread(target=_tidy, args=(app.state.console,), daemon=True).start()
    # The server ends by it, then raises it again: unhandled, it would leave packs in /tmp.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    on_hangup(lambda: sys.exit(0))
    server(settings, app).run()


def _tidy(console: Console) -> None:
    while True:
        try:
            console.tidy()
        except OSError as error:
            _log.error("deleting old links: %s", error)
        time.sleep(_TIDY_SECONDS)


@click.group(cls=HelpfulGroup)
def console() -> None:
    """Sign people in to the web console."""


@console.command(
    epilog="""
\b
Examples:
  sealgate console link approver-1
  sealgate console link admin --hours 1
"""
)
@click.argument("person")
@click.option(
    "--hours",
    type=click.FloatRange(0.01, 24),
    default=8.0,
    show_default=True,
    help="How long the session may last.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.1, 1440),
    default=15.0,
    show_default=True,
    help="How long the link works.",
)
@config_option
@click.pass_context
def link(
    ctx: click.Context, person: str, hours: float, minutes: float, config: Path | None
) -> None:
    """Print a link that signs PERSON in to the console, once.

    The installation's own issuer signs the token behind it, bound to the console's certificate. The
    policy says what PERSON may do. The first person to open the link is signed in.
    """
    settings = _read(ctx, config)
    if settings.links.folder is None:
        raise click.ClickException("this console takes no links: [links] folder is not set")
    issuer_key = state_folder(ctx) / "issuer" / "issuer.key"
    try:
        key = issuer_key.read_bytes()
        bound_to = thumbprint(settings.gateway.certificate.read_text("ascii"))
    except OSError as error:
        raise click.ClickException(f"cannot read {error.filename}: {error.strerror}") from error
    now = datetime.now(UTC)
    token = mint_token(key, person, now, timedelta(hours=hours), bound_to=bound_to)
    code = write_link(settings.links.folder, SIGN_IN, token, now, timedelta(minutes=minutes))
    click.echo(f"{settings.listen.origin}/links/{code}")
