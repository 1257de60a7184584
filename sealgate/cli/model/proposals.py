"""`sealgate model propose`, `proposals` and `approve`."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import click

from sealgate.cli.context import alias_option, connected, governance_of, list_options, profile
from sealgate.cli.output import json_option, printable, show_fields, show_rows
from sealgate.promotion_documents import ProposalReview
from sealgate.remote.calls import list_all
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Approval, Proposal
from sealgate.v1 import registry_pb2 as messages

SCREENING_REPORT = "screening-report"
"""The kind of evidence that says what screening finds."""


def show_review(review: ProposalReview) -> None:
    """Prints the review on standard error, where a question to the approver follows."""
    proposal = review.proposal
    click.echo(
        f"{proposal.model} version {proposal.version} for {proposal.alias}, "
        f"published by {review.publisher}, proposed by {proposal.proposer}",
        err=True,
    )
    if proposal.share:
        click.echo(f"{proposal.alias} gets {proposal.share} % of production's requests", err=True)
    click.echo(f"digest {proposal.digest}, recomputed here from the files", err=True)
    later = [(item, f", attached later, dated {item.created}") for item in review.attached]
    for item, when in [*((item, "") for item in review.evidence), *later]:
        click.echo(f"  {item.kind}, by {item.maker}{when}:", err=True)
        for line in facts(item.body):
            # Whoever made it chose every word in it.
            click.echo(f"    {printable(line)}", err=True)


def facts(body: Any, path: str = "") -> Iterator[str]:
    """The facts of a piece of evidence, a line for each group of them; lists are only counted."""
    if not isinstance(body, dict):
        yield _plain(body)
        return
    here = [
        f"{name} {_plain(value)}" for name, value in body.items() if not isinstance(value, dict)
    ]
    if here:
        yield f"{path}: {', '.join(here)}" if path else ", ".join(here)
    for name, value in body.items():
        if isinstance(value, dict):
            yield from facts(value, f"{path} {name}" if path else name)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"({len(value)} items)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
    help="How long the proposal is valid.",
)
@click.option(
    "--share",
    type=click.IntRange(0, 100),
    default=0,
    help="Percent of production's requests that canary answers or shadow receives as copies.",
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
            _proposal_row(p) for p in list_all(registry.ListProposals, request, "proposals", limit)
        ]
    columns = ("proposal", "alias", "version", "proposer", "approved_by", "until")
    show_rows(rows, columns, as_json)


@click.command(epilog="\b\nExample:\n  sealgate --as approver-1 model approve sha256:0123…")
@click.argument("proposal")
@click.option("--meaning", help="The meaning of your signature; default: ask for it.")
@json_option
@click.pass_context
def approve(ctx: click.Context, proposal: str, meaning: str | None, as_json: bool) -> None:
    """Verify PROPOSAL on this machine and sign an approval of it.

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
