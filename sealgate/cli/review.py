"""What an approver is shown before they sign: the proposal, and what its evidence says."""

from collections.abc import Iterator
from typing import Any

import click

from sealgate.cli.output import printable
from sealgate.governance import Review

SCREENING_REPORT = "screening-report"
"""The kind of evidence that says what screening finds."""


def show_review(review: Review) -> None:
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
