"""`sealgate receipt`: an answer's proof, checked with no network."""

from datetime import UTC, datetime
from pathlib import Path

import click

from sealgate.cli.failures import HelpfulGroup
from sealgate.cli.output import json_option, show_fields
from sealgate.cli.people import profile, state_folder
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import open_policy_chain
from sealgate.trust.receipt import Receipt, verify_receipt


@click.group(cls=HelpfulGroup)
def receipt() -> None:
    """Check receipts."""


@receipt.command(
    epilog="""
\b
Examples:
  sealgate --as client receipt verify receipt.json
  sealgate --as client receipt verify receipt.json --policy policy.json
"""
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The chain of signed policies, first to newest; default: STATE/trust/policy.json.",
)
@json_option
@click.pass_context
def verify(ctx: click.Context, file: Path, policies: tuple[Path, ...], as_json: bool) -> None:
    """Verify the receipt in FILE against the pinned root keys, offline."""
    person = profile(ctx, "client")
    chain = policies or (state_folder(ctx) / "trust" / "policy.json",)
    policy = open_policy_chain(
        [Envelope.decode(path.read_bytes()) for path in chain],
        person.pinned_roots(),
        person.root_threshold,
        datetime.now(UTC),
    )
    verified = verify_receipt(Receipt.decode(file.read_bytes()), policy)
    show_fields(
        {
            **verified.fields,
            "log": verified.checkpoint.origin,
            "log_size": verified.checkpoint.size,
            "proof": "holds",
        },
        as_json,
    )
