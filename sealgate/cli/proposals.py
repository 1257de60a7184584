"""`sealgate model propose`, `proposals` and `approve`: what is put to people, and what they say."""

from datetime import timedelta
from typing import Any

import click

from sealgate.cli.alias import alias_option
from sealgate.cli.governing import governance_of
from sealgate.cli.lists import list_options
from sealgate.cli.output import json_option, show_fields, show_rows
from sealgate.cli.people import connected, profile
from sealgate.cli.review import show_review
from sealgate.listing import every
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Approval, Proposal
from sealgate.v1 import registry_pb2 as messages


@click.command(
    epilog="\b\nExamples:\n  sealgate model propose digits 1 --alias production\n"
    "  sealgate model propose digits 2 --alias canary --share 10"
)
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@alias_option
@click.option(
    "--days",
    type=click.IntRange(1, 30),
    default=7,
    show_default=True,
    help="How long it may be approved and carried out.",
)
@click.option(
    "--share",
    type=click.IntRange(0, 100),
    default=0,
    help="Percent of production's requests that canary answers, or that shadow is asked too.",
)
@json_option
@click.pass_context
def propose(
    ctx: click.Context, name: str, version: int, alias: str, days: int, share: int, as_json: bool
) -> None:
    """Propose VERSION of the model NAME, for others to approve."""
    person = profile(ctx, "publisher")
    with connected(person) as channel:
        lifetime = timedelta(days=days)
        proposal = governance_of(person, channel).propose(name, version, alias, lifetime, share)
    show_fields({"proposal": proposal.digest}, as_json)


@click.command(
    epilog="\b\nExamples:\n  sealgate model proposals digits\n"
    "  sealgate model proposals digits --filter 'alias = production AND NOT approver:approver-1'"
)
@click.argument("name")
@list_options
@json_option
@click.pass_context
def proposals(
    ctx: click.Context, name: str, filter_: str, limit: int | None, as_json: bool
) -> None:
    """List the proposals for the model NAME, oldest first."""
    person = profile(ctx, "auditor")
    request = messages.ListProposalsRequest(model=name, filter=filter_)
    with connected(person) as channel:
        registry = governance_of(person, channel).registry
        rows = [
            _proposal_row(p) for p in every(registry.ListProposals, request, "proposals", limit)
        ]
    columns = ("proposal", "alias", "version", "proposer", "approved_by", "until")
    show_rows(rows, columns, as_json)


@click.command(epilog="\b\nExample:\n  sealgate --as approver-1 model approve sha256:0123…")
@click.argument("proposal")
@click.option("--meaning", help="What your signature means; asked for where it is not given.")
@json_option
@click.pass_context
def approve(ctx: click.Context, proposal: str, meaning: str | None, as_json: bool) -> None:
    """Check PROPOSAL on this machine, and sign an approval of it.

    Every file is hashed here, and the evidence is shown, before anything is signed.
    """
    person = profile(ctx, "approver-1")
    with connected(person) as channel:
        governance = governance_of(person, channel)
        review = governance.review(proposal, lambda path: click.echo(f"hashing {path}", err=True))
        show_review(review)
        if meaning is None:
            meaning = click.prompt("What does your signature mean? (for example: reviewed, safe)")
        approved = governance.approve(proposal, meaning)
    show_fields({"proposal": proposal, "approved_by": _approvers(approved)}, as_json)


def _approvers(proposal: messages.Proposal) -> str:
    approvals = [Approval.decode(Envelope.decode(item).payload) for item in proposal.approvals]
    return ", ".join(item.approver for item in approvals)


def _proposal_row(proposal: messages.Proposal) -> dict[str, Any]:
    proposed = Proposal.decode(Envelope.decode(proposal.envelope).payload)
    return {
        "proposal": proposal.digest,
        "alias": proposed.alias,
        "version": proposed.version,
        "proposer": proposed.proposer,
        "approved_by": _approvers(proposal),
        "until": proposed.not_after,
    }
