"""`sealgate receipt`: verifies receipts offline, and gets them in COSE form."""

import json
from pathlib import Path

import click

from sealgate.cli.context import connected, governance_of, open_chain, profile, read_chain
from sealgate.cli.options import EXISTING_FILE, policy_option
from sealgate.cli.output import HelpfulGroup, json_option, show_fields, warn_unscreened
from sealgate.files import replace_file
from sealgate.pages import PagePins, receipt_page
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.cose_receipt import (
    CoseReceipt,
    TransparentStatement,
    content_type,
    is_cose,
    is_statement,
)
from sealgate.v1.log_pb2 import GetCoseReceiptRequest
from sealgate.v1.log_pb2_grpc import LogServiceStub


@click.group(cls=HelpfulGroup)
def receipt() -> None:
    """Verify receipts, get them as COSE, or create the page that verifies them in a browser."""


@receipt.command(
    epilog="""
\b
Examples:
  sealgate --as client receipt verify receipt.json
  sealgate --as client receipt verify receipt.json --policy policy.json
  sealgate --as client receipt verify receipt.cose --of receipt.json
  sealgate --as auditor receipt verify statement.cose
"""
)
@click.argument("file", type=EXISTING_FILE)
@click.option(
    "--of",
    "plain",
    type=EXISTING_FILE,
    help="The receipt whose entry the COSE receipt in FILE is about.",
)
@policy_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context, file: Path, plain: Path | None, policies: tuple[Path, ...], as_json: bool
) -> None:
    """Verify the receipt in FILE against the pinned root keys, offline.

    FILE is a receipt, a COSE receipt (RFC 9942; with --of) or a transparent statement (RFC 9943).
    """
    person = profile(ctx, "client")
    policy = open_chain(read_chain(ctx, policies), person)
    data = file.read_bytes()
    if is_cose(data) and is_statement(data):
        show_fields(_statement_fields(data, policy), as_json)
        return
    if is_cose(data) and plain is None:
        raise click.UsageError("a COSE receipt does not hold its entry: name it with --of")
    read = Receipt.decode(plain.read_bytes() if plain else data)
    verified = verify_receipt(read, policy)
    tree, proof = verified.checkpoint, "holds"
    if plain is not None:
        tree = CoseReceipt.decode(data).verify(read.entry, policy)
        proof = _cose_proof(policy, tree.origin)
    warn_unscreened(verified.fields.get("screening"))
    show_fields(
        {**verified.fields, "log": tree.origin, "log_size": tree.size, "proof": proof}, as_json
    )


def _cose_proof(policy: Policy, origin: str) -> str:
    """The result for a COSE signature that verifies: it is never by a log's ML-DSA key."""
    beside = policy.ml_dsa is not None and origin in policy.ml_dsa.keys
    return "holds, by the log's Ed25519 key alone" if beside else "holds"


def _statement_fields(data: bytes, policy: Policy) -> dict[str, object]:
    statement = TransparentStatement.decode(data)
    index, tree = statement.verify(policy)
    kind = content_type(statement.entry)
    entry = json.loads(statement.entry) if kind.endswith("+json") else {}
    told = {name: entry[name] for name in ("event", "time", "principal", "subject") if entry}
    return {
        **told,
        "content_type": kind,
        "log": tree.origin,
        "index": index,
        "log_size": tree.size,
        "proof": _cose_proof(policy, tree.origin),
    }


@receipt.command(
    epilog="\b\nExamples:\n  sealgate --as client receipt cose receipt.json receipt.cose"
)
@click.argument("file", type=EXISTING_FILE)
@click.argument("out", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.pass_context
def cose(ctx: click.Context, file: Path, out: Path) -> None:
    """Ask the log for the receipt in FILE as a COSE receipt (RFC 9942), and write that to OUT.

    Other people's verifiers can read it. Both receipts are verified first.
    """
    person = profile(ctx, "client")
    read = Receipt.decode(file.read_bytes())
    with connected(person) as channel:
        policy = governance_of(person, channel).policy()
        origin = verify_receipt(read, policy).checkpoint.origin
        request = GetCoseReceiptRequest(origin=origin, index=read.proof.index)
        data = LogServiceStub(channel).GetCoseReceipt(request).receipt
    tree = CoseReceipt.decode(data).verify(read.entry, policy)
    replace_file(out, data)
    click.echo(f"{out} proves the entry in {tree.origin} at {tree.size} entries")


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
