"""`sealgate model inventory`: every model by risk tier, owner and review date."""

import csv
import io
from datetime import UTC, datetime

import click

from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import json_option, printable, show_rows
from sealgate.inventory import DUE, OVERDUE, InventoryItem
from sealgate.inventory import inventory as listed
from sealgate.trust.times import format_time
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_COLUMNS = ("model", "tier", "owner", "alias", "version", "since", "review_by", "review")


@click.command(
    epilog="\b\nExamples:\n  sealgate model inventory\n  sealgate model inventory --due\n"
    "  sealgate model inventory --csv > models.csv"
)
@click.option("--due", is_flag=True, help="Only what is due for review, or overdue.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV for a spreadsheet.")
@json_option
@click.pass_context
def inventory(ctx: click.Context, due: bool, as_csv: bool, as_json: bool) -> None:
    """List every model: its risk tier, its owner, what is live, and when to review that.

    The policy's section `review` says for how many days approvals count, by risk tier, and who owns
    a model. A version is due 30 days before its approvals end. The exit status is 1 if one is
    overdue.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        found = list(listed(RegistryServiceStub(channel), policies, datetime.now(UTC)))
    rows = [_row(item) for item in found if not due or item.review in (DUE, OVERDUE)]
    if as_csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: printable(value) for name, value in row.items()} for row in rows)
        click.echo(text.getvalue(), nl=False)
    else:
        show_rows(rows, _COLUMNS, as_json)
    if any(item.review == OVERDUE for item in found):
        ctx.exit(1)


def _row(item: InventoryItem) -> dict[str, object]:
    return {
        "model": item.model,
        "tier": item.tier or "none",
        "owner": item.owner,
        "alias": item.alias,
        "version": item.version or "",
        "since": item.since,
        "review_by": format_time(item.review_end) if item.review_end else "",
        "review": item.review,
    }
