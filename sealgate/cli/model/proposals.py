"""`sealgate model propose`, `proposals` and `approve`; `reject`, `withdraw` and `comment`."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any

import click

from sealgate.cli.context import connected, governance_of, profile
from sealgate.cli.options import alias_option, list_options, reason_option, security_key_option
from sealgate.cli.output import json_option, show_fields, show_rows
from sealgate.printable import printable
from sealgate.promotion.reviews import ProposalDiscussion, ProposalReview, waiting_for
from sealgate.remote.calls import list_all
from sealgate.trust.statements import Evidence
from sealgate.v1 import registry_pb2 as messages

_MOST_ITEMS = 8


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
        show_evidence(item, when, err=True)


def show_evidence(item: Evidence, when: str = "", *, err: bool = False) -> None:
    """Prints a piece of evidence, on standard error where `err`."""
    click.echo(f"  {item.kind}, by {item.maker}{when}:", err=err)
    for line in facts(item.body):
        # Its maker chose every word in it.
        click.echo(f"    {printable(line)}", err=err)


def facts(body: Any, path: str = "") -> Iterator[str]:
    """The facts of a piece of evidence, a line for each group of them; long lists are counted."""
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
        nested = any(isinstance(item, dict | list) for item in value)
        if nested or len(value) > _MOST_ITEMS:
            return f"({len(value)} items)"
        return f"[{', '.join(map(_plain, value))}]"
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
    show_default=True,
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
    epilog="\b\nExamples:\n  sealgate model proposals\n"
    "  sealgate --as approver-1 model proposals --waiting-for me\n"
    "  sealgate model proposals digits --filter 'alias = production AND NOT approver:approver-1'"
)
@click.argument("name", required=False)
@click.option(
    "--waiting-for",
    "waiting",
    metavar="PERSON",
    help="Only what waits for this person, or for `me`.",
)
@list_options
@json_option
@click.pass_context
def proposals(
    ctx: click.Context,
    name: str | None,
    waiting: str | None,
    filter_: str,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the proposals for the model NAME, or for all models, oldest first.

    A proposal waits for approvers until enough of them have approved, and then for an admin.
    """
    if waiting and filter_:
        raise click.UsageError("--waiting-for and --filter exclude each other")
    person = profile(ctx, "auditor")
    request = messages.ListProposalsRequest(model=name or "", filter=filter_)
    with connected(person) as channel:
        governance = governance_of(person, channel)
        if waiting:
            whom = person.name if waiting == "me" else waiting
            found = waiting_for(whom, governance.registry, governance.policy(), name or "")
        else:
            found = list_all(governance.registry.ListProposals, request, "proposals", limit)
        rows = [discussion_fields(ProposalDiscussion.of(p)) for p in islice(found, limit)]
    columns = ("proposal", "model", "alias", "version", "state", "proposer", "approved_by", "until")
    show_rows(rows, columns, as_json)
    if not as_json:
        _show_words(rows)


@click.command(
    epilog="\b\nExamples:\n  sealgate --as approver-1 model approve sha256:0123…\n"
    "  sealgate --as approver-1 model approve sha256:0123… --security-key"
)
@click.argument("proposal")
@click.option("--meaning", help="The meaning of your signature; default: ask for it.")
@security_key_option
@json_option
@click.pass_context
def approve(
    ctx: click.Context, proposal: str, meaning: str | None, security_key: bool, as_json: bool
) -> None:
    """Verify PROPOSAL on this machine and sign an approval of it.

    Every file is hashed here, and the evidence is shown, before anything is signed.
    """
    person = profile(ctx, "approver-1")
    with connected(person) as channel:
        governance = governance_of(person, channel, security_key=security_key)
        review = governance.review(proposal, lambda path: click.echo(f"hashing {path}", err=True))
        show_review(review)
        if meaning is None:
            meaning = click.prompt("What does your signature mean? (for example: reviewed, safe)")
        approved = governance.approve(proposal, meaning)
    approved_by = discussion_fields(ProposalDiscussion.of(approved))["approved_by"]
    show_fields({"proposal": proposal, "approved_by": approved_by}, as_json)


def discussion_fields(told: ProposalDiscussion) -> dict[str, Any]:
    """A proposal with what people have signed about it, for a table or JSON."""
    proposal, withdrawal = told.proposal, told.withdrawal
    words = [("approved", a.approver, a.meaning, a.time) for a in told.approvals]
    words += [("rejected", r.approver, r.reason, r.time) for r in told.rejections]
    if withdrawal:
        words.append(("withdrew", withdrawal.proposer, withdrawal.reason, withdrawal.time))
    words += [("commented", c.person, c.text, c.time) for c in told.comments]
    names = ("what", "who", "words", "time")
    return {
        "proposal": told.digest,
        "model": proposal.model,
        "alias": proposal.alias,
        "version": proposal.version,
        "state": told.state,
        "proposer": proposal.proposer,
        "approved_by": ", ".join(approval.approver for approval in told.approvals),
        "until": proposal.not_after,
        "said": [dict(zip(names, item, strict=True)) for item in sorted(words, key=_when)],
    }


def _when(said: tuple[str, str, str, str]) -> str:
    return said[3]


def show_discussion(proposal: messages.Proposal, as_json: bool) -> None:
    """Print a proposal with all that people have signed about it."""
    row = discussion_fields(ProposalDiscussion.of(proposal))
    show_fields(row if as_json else row | {"said": list(_words(row))}, as_json)


def _show_words(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print what each person said, below the table."""
    for row in rows:
        for words in _words(row):
            # The signer chose the words.
            click.echo(f"{row['proposal'][:19]}…  {printable(words)}")


def _words(row: Mapping[str, Any]) -> Iterator[str]:
    for said in row["said"]:
        yield f"{said['who']} {said['what']} at {said['time']}: {said['words']}"


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

    Nobody can approve or promote the proposal any more; a new one must be made. Every principal
    that may approve it may reject it.
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
