"""`sealgate init` and `sealgate token`: a first installation on one machine."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from sealgate.cli.context import further_command, state_folder
from sealgate.cli.key import new_passphrase, passphrase_option
from sealgate.setup.configuration import EnginePlace
from sealgate.setup.credentials import mint_token
from sealgate.setup.installation import (
    PEOPLE,
    Installation,
    InstalledScreening,
    Ports,
    check_new,
)


@click.command(
    epilog="""
\b
Examples:
  sealgate init
  sealgate --state /srv/sealgate init --name bank --port 9443
  sealgate --state bank init --engine-address engine.internal:9443
  sealgate --state trial init --unencrypted-keys
"""
)
@click.option("--name", default="sealgate", show_default=True, help="Names logs and authorities.")
@click.option(
    "--port",
    type=click.IntRange(1, 65534),
    default=8443,
    show_default=True,
    help="Port for callers with tokens; the next port is for callers with certificates.",
)
@click.option(
    "--console-port",
    type=click.IntRange(1, 65535),
    help="Port of the console; default: the second after --port.",
)
@click.option(
    "--separate-engine",
    is_flag=True,
    help="Run the engine in a separate process, behind a unix socket.",
)
@click.option(
    "--engine-address",
    metavar="HOST:PORT",
    help="Address of a separate engine with mutual TLS, instead of a unix socket.",
)
@click.option(
    "--ml-dsa-logs",
    is_flag=True,
    help="Sign the logs with ML-DSA-44 beside Ed25519, from the first entry on.",
)
@click.option(
    "--sessions",
    type=click.Choice(["alert", "block", "off"]),
    default="alert",
    show_default=True,
    help="What to do if a caller's requests together look like an attack.",
)
@click.option(
    "--unencrypted-keys",
    is_flag=True,
    help="Store keys without a passphrase, for trials: anyone who can read a file can sign.",
)
@passphrase_option
@click.pass_context
def init(
    ctx: click.Context,
    name: str,
    port: int,
    console_port: int | None,
    separate_engine: bool,
    engine_address: str | None,
    ml_dsa_logs: bool,
    sessions: str,
    unencrypted_keys: bool,
    passphrase_file: Path | None,
) -> None:
    """Create keys, certificates, a first policy and a configuration.

    The gateway listens on loopback only. Keys of roots and people are encrypted with one
    passphrase; keys of services are not.
    """
    folder = state_folder(ctx)
    engine = _engine(separate_engine, engine_address)
    try:
        check_new(folder)
        passphrase = None if unencrypted_keys else new_passphrase(passphrase_file)
        Installation(
            folder,
            name,
            datetime.now(UTC),
            Ports(port, port + 1, console_port or min(port + 2, 65535)),
            engine=engine,
            ml_dsa_logs=ml_dsa_logs,
            screening=InstalledScreening(sessions="" if sessions == "off" else sessions),
            passphrase=passphrase,
        ).make()
    except FileExistsError:
        raise click.ClickException(f"{folder} is not empty; choose another with --state") from None
    _say_made(ctx, engine, encrypted=passphrase is not None)


def _say_made(ctx: click.Context, engine: EnginePlace | None, *, encrypted: bool) -> None:
    click.echo(f"Made an installation in {state_folder(ctx)}:")
    click.echo("  roots/    three root keys, two of which sign each policy; take them offline")
    click.echo(f"  people/   {', '.join(person.name for person in PEOPLE)}")
    click.echo("  trust/    the pinned root keys and the first policy")
    if encrypted:
        click.echo("The keys that roots and people sign with are encrypted with your passphrase.")
    else:
        click.echo("The keys of roots and people are NOT encrypted: for demos and tests alone.")
    serve = further_command("serve")
    if engine is None:
        click.echo(f"Next: {serve}")
        return
    if engine.address:
        click.echo("  The engine's part, should it live elsewhere: root keys, artifacts,")
        click.echo(f"            {', '.join(engine.files)}")
    click.echo(f"Next: {serve} engine, and beside it {serve}")


def _engine(separate: bool, address: str | None) -> EnginePlace | None:
    if not separate and address is None:
        return None
    try:
        return EnginePlace(address or "")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--engine-address") from None


@click.command(
    epilog="""
\b
Examples:
  sealgate token client --hours 1
  sealgate token client > state/people/client/token.jwt
"""
)
@click.argument("subject")
@click.option(
    "--hours",
    type=click.FloatRange(0.01, 24 * 31),
    default=12.0,
    show_default=True,
    help="The token's lifetime.",
)
@click.pass_context
def token(ctx: click.Context, subject: str, hours: float) -> None:
    """Print a new bearer token for SUBJECT.

    The installation's own issuer signs it. It states who SUBJECT is; the policy states what they
    may do.
    """
    issuer_key = state_folder(ctx) / "issuer" / "issuer.key"
    click.echo(_mint(issuer_key, subject, hours))


def _mint(issuer_key: Path, subject: str, hours: float) -> str:
    try:
        key = issuer_key.read_bytes()
    except OSError as error:
        raise click.ClickException(f"cannot read {issuer_key}: {error.strerror}") from error
    return mint_token(key, subject, datetime.now(UTC), timedelta(hours=hours))
