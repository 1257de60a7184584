"""`sealgate model reject`, `withdraw` and `comment`: what people sign about a proposal."""

import click

from sealgate.cli.context import connected, governance_of, profile
from sealgate.cli.model.proposals import show_discussion
from sealgate.cli.output import json_option

reason_option = click.option(
    "--reason", required=True, help="The reason, which is signed and recorded."
)


@click.command(
    epilog="\b\nExample:\n"
    "  sealgate --as approver-1 model reject sha256:0123… --reason 'fails on rotated digits'"
)
@click.argument("proposal")
@reason_option
@json_option
@click.pass_context
def reject(ctx: click.Context, proposal: str, reason: str, as_json: bool) -> None:
    """Sign a rejection of PROPOSAL, which ends it.

    Nobody can approve or promote the proposal any more; a new one must be made. Whoever may approve
    it may reject it.
    """
    person = profile(ctx, "approver-1")
    with connected(person) as channel:
        ended = governance_of(person, channel).reject(proposal, reason)
    show_discussion(ended, as_json)


@click.command(
    epilog="\b\nExample:\n  sealgate model withdraw sha256:0123… --reason 'another is better'"
)
@click.argument("proposal")
@reason_option
@json_option
@click.pass_context
def withdraw(ctx: click.Context, proposal: str, reason: str, as_json: bool) -> None:
    """Withdraw a PROPOSAL of your own, which ends it."""
    person = profile(ctx, "publisher")
    with connected(person) as channel:
        ended = governance_of(person, channel).withdraw(proposal, reason)
    show_discussion(ended, as_json)


@click.command(
    epilog="\b\nExample:\n"
    "  sealgate --as approver-1 model comment sha256:0123… 'see row 17 of the report'"
)
@click.argument("proposal")
@click.argument("text")
@json_option
@click.pass_context
def comment(ctx: click.Context, proposal: str, text: str, as_json: bool) -> None:
    """Sign TEXT as a comment on PROPOSAL, permanently.

    Everyone who may read the proposal is shown it. It changes nothing else.
    """
    person = profile(ctx, "approver-1")
    with connected(person) as channel:
        told = governance_of(person, channel).comment(proposal, text)
    show_discussion(told, as_json)
