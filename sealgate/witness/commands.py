"""`sealgate witness`: runs a witness, which should be in other hands than the gateway."""

import signal
import sqlite3
import threading
import time
from pathlib import Path

import click

from sealgate.cli.output import HelpfulGroup, ask_secret
from sealgate.private_keys import open_signer
from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError
from sealgate.witness.server import WitnessConfig, WitnessServer
from sealgate.witness.service import Witness, WitnessMemory


@click.group("witness", cls=HelpfulGroup)
def witness() -> None:
    """Cosign the checkpoints of other people's logs (C2SP tlog-witness)."""


@witness.command(
    epilog="""
\b
Examples:
  sealgate witness serve --config witness.toml --new    the first time
  sealgate witness serve --config witness.toml

\b
witness.toml:
  [witness]
  name = "witness.example"        # part of its verifier key
  listen = "127.0.0.1:7380"       # elsewhere with certificate and certificate_key
  key = "witness.key"             # sealgate key new --unencrypted witness.key
  database = "witness.sqlite"
  [[logs]]
  key = "house/registry+…"        # `sealgate policy show` names each log's
"""
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("witness.toml"),
    show_default=True,
)
@click.option(
    "--new", is_flag=True, help="Create the database; only for a key that has never cosigned."
)
def serve(config: Path, new: bool) -> None:
    """Cosign checkpoints until SIGTERM or SIGINT. Prints the verifier key for gateway.toml.

    The database remembers what was cosigned. A witness that has lost it needs a new key: the old
    key might sign something that contradicts an earlier cosignature.
    """
    try:
        settings = WitnessConfig.read(config)
        server = _server(settings, new)
    except (ConfigError, SealgateError, OSError) as error:
        raise click.ClickException(str(error)) from error
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        click.echo(f"verifier key: {server.witness.vkey}")
        click.echo(f"listening: {server.server_address[0]!s}:{server.server_address[1]}")
        stopping.wait()
        server.shutdown()


def _server(settings: WitnessConfig, new: bool) -> WitnessServer:
    own = settings.witness
    signer = open_signer(own.key, ask_secret)
    try:
        memory = WitnessMemory(own.database, create=new)
    except FileNotFoundError:
        raise ConfigError(
            f"[witness] database = {str(own.database)!r} is not there, or empty: with a key that "
            "never cosigned, --new begins one; otherwise restore it, or take a new key"
        ) from None
    except sqlite3.Error as error:
        raise ConfigError(f"[witness] database = {str(own.database)!r}: {error}") from error
    logs = {log.origin: log.key for log in settings.logs}
    served = Witness(own.name, signer, logs, memory, time.time)
    host, _, port = own.listen.rpartition(":")
    pair = (own.certificate, own.certificate_key)
    certificate = (pair[0], pair[1]) if pair[0] and pair[1] else None
    return WitnessServer(host.strip("[]"), int(port), served, certificate)
