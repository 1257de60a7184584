"""`sealgate screen`: screening of one's own data, and allowances for withheld requests."""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from sealgate.cli.context import connected, profile
from sealgate.cli.infer import input_options, read_input
from sealgate.cli.main import PluginGroup
from sealgate.cli.options import FILE, reason_option
from sealgate.cli.output import ask_secret
from sealgate.client.request import PreparedRequest
from sealgate.private_keys import named_key, open_signer
from sealgate.trust.statements import sign_statement
from sealgate.trust.statements.allowance import NONCE_BYTES, Allowance
from sealgate.trust.times import format_time
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub


class ScreenGroup(PluginGroup):
    joined_by = "sealgate.commands.screen"


@click.group(cls=ScreenGroup)
def screen() -> None:
    """Allow a request that screening withholds; measure and recalibrate screening."""


@screen.command(
    epilog="""
\b
Examples:
  sealgate --as approver-1 screen allow digits 3 --caller client --input row.csv \\
      --reason "the scan is genuine, seen by me" --output allowance.json
  sealgate infer digits --input row.csv --allowance allowance.json   (the caller, afterwards)
"""
)
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.option("--caller", required=True, help="The caller whose request may be answered.")
@input_options
@reason_option
@click.option(
    "--minutes",
    type=click.FloatRange(1),
    default=15.0,
    show_default=True,
    help="For how long the allowance is valid; the policy limits it.",
)
@click.option("--output", required=True, type=FILE, help="The file to write the allowance to.")
@click.pass_context
def allow(
    ctx: click.Context,
    model: str,
    version: int,
    caller: str,
    file: Path | None,
    texts: tuple[str, ...],
    name: str | None,
    reason: str,
    minutes: float,
    output: Path,
) -> None:
    """Sign that VERSION of MODEL may answer this input of CALLER once.

    Look at the input before you sign: your machine computes its digest from the file. The policy
    says who may allow what, and for how long; never the caller.
    """
    asked = read_input(file, texts, name)
    person = profile(ctx, "approver-1")
    key = named_key(person.signing_key)
    with connected(person) as channel:
        request = messages.GetVersionRequest(name=f"models/{model}/versions/{version}")
        digest = RegistryServiceStub(channel).GetVersion(request).version.digest
    now = datetime.now(UTC)
    allowance = Allowance(
        caller=caller,
        model=model,
        digest=digest,
        input=PreparedRequest.of(model, asked).input_digest,
        person=person.name,
        reason=reason,
        issued=format_time(now),
        expires=format_time(now + timedelta(minutes=minutes)),
        nonce=secrets.token_hex(NONCE_BYTES),
    )
    envelope = sign_statement(allowance, open_signer(key, ask_secret))
    with output.open("xb") as opened:
        opened.write(envelope.encode())
    click.echo(f"{output} lets {caller} ask this of {model} {version} until {allowance.expires}")
