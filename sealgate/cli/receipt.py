"""`sealgate receipt`: verifies receipts offline."""

from pathlib import Path

import click

from sealgate.cli.context import open_chain, policy_option, profile, read_chain
from sealgate.cli.output import HelpfulGroup, json_option, show_fields, warn_unscreened
from sealgate.pages.receipt_page import PagePins, receipt_page
from sealgate.trust.receipts import Receipt, verify_receipt


@click.group(cls=HelpfulGroup)
def receipt() -> None:
    """Verify receipts, or create the page that verifies them in a browser."""


@receipt.command(
    epilog="""
\b
Examples:
  sealgate --as client receipt verify receipt.json
  sealgate --as client receipt verify receipt.json --policy policy.json
"""
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@policy_option
@json_option
@click.pass_context
def verify(ctx: click.Context, file: Path, policies: tuple[Path, ...], as_json: bool) -> None:
    """Verify the receipt in FILE against the pinned root keys, offline."""
    person = profile(ctx, "client")
    policy = open_chain(read_chain(ctx, policies), person)
    verified = verify_receipt(Receipt.decode(file.read_bytes()), policy)
    warn_unscreened(verified.fields.get("screening"))
    show_fields(
        {
            **verified.fields,
            "log": verified.checkpoint.origin,
            "log_size": verified.checkpoint.size,
            "proof": "holds",
        },
        as_json,
    )


@receipt.command(
    epilog="""
\b
Examples:
  sealgate --as auditor receipt page                   carries the policy and the pinned root keys
  sealgate receipt page blank.html --without-policy    asks its reader for them
"""
)
@click.argument(
    "file", default="receipt.html", type=click.Path(dir_okay=False, writable=True, path_type=Path)
)
@policy_option
@click.option("--without-policy", is_flag=True, help="The page carries no policy and no keys.")
@click.pass_context
def page(ctx: click.Context, file: Path, policies: tuple[Path, ...], without_policy: bool) -> None:
    """Write to FILE a page that verifies receipts in a browser, without network.

    Give it to anyone who has to verify receipts: they drop a receipt on the page and see each step
    of its proof.
    """
    if without_policy and policies:
        raise click.UsageError("--policy and --without-policy exclude each other")
    pins = None
    if not without_policy:
        person = profile(ctx, "client")
        chain = read_chain(ctx, policies)
        open_chain(chain, person)
        pins = PagePins(chain, tuple(person.pinned_roots().values()), person.root_threshold)
    file.write_text(receipt_page(pins), encoding="utf-8", newline="\n")
    click.echo(f"{file} checks receipts in a browser")
    for key in pins.root_keys if pins else ():
        click.echo(f"  root key {key.keyid}")
