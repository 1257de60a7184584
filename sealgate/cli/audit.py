"""`sealgate audit`: the logs checked from end to end, and single entries shown."""

import json
from contextlib import suppress
from datetime import UTC, datetime

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from sealgate.audit import Auditor, LogFinding
from sealgate.cli.failures import HelpfulGroup
from sealgate.cli.lines import json_lines_option, show_line
from sealgate.cli.output import json_option, show_fields, show_rows
from sealgate.cli.people import connected, profile
from sealgate.governance import Governance
from sealgate.trust.merkle import leaf_hash
from sealgate.trust.receipt import Receipt, verify_receipt
from sealgate.v1 import log_pb2 as messages


@click.group(cls=HelpfulGroup)
def audit() -> None:
    """Check the logs, and look into them."""


@audit.command(epilog="\b\nExample:\n  sealgate audit verify")
@json_option
@click.pass_context
def verify(ctx: click.Context, as_json: bool) -> None:
    """Check every entry of every log against the signed checkpoints."""
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policy = Governance(channel, person, lambda: datetime.now(UTC)).policy()
        auditor = Auditor(channel, policy)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, transient=True, disable=as_json) as progress:
            findings = [_verify(auditor, origin, progress) for origin in auditor.origins()]
    rows = [
        {"log": f.origin, "entries": f.size, "root": f.root, "found": "intact"} for f in findings
    ]
    show_rows(rows, ("log", "entries", "root", "found"), as_json)


@audit.command(
    epilog="\b\nExamples:\n  sealgate audit show registry 3\n  sealgate audit show answers 12"
)
@click.argument("log")
@click.argument("index", type=click.IntRange(0))
@json_option
@click.pass_context
def show(ctx: click.Context, log: str, index: int, as_json: bool) -> None:
    """Show entry INDEX of LOG.

    LOG is an origin, or the end of one such as `registry` or `answers`.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policy = Governance(channel, person, lambda: datetime.now(UTC)).policy()
        auditor = Auditor(channel, policy)
        origin = _origin(auditor, log)
        if policy.is_answer_log(origin):
            request = messages.OpenEntryRequest(origin=origin, index=index)
            receipt = Receipt.decode(auditor.logs.OpenEntry(request).receipt)
            show_fields(dict(verify_receipt(receipt, policy).fields), as_json)
            return
        entry = auditor.logs.GetEntry(messages.GetEntryRequest(origin=origin, index=index)).leaf
    document = json.loads(entry)
    show_fields(document if as_json else _flat(document), as_json)


@audit.command(
    epilog="\b\nExamples:\n  sealgate audit follow registry\n  sealgate audit follow answers --json"
)
@click.argument("log", default="registry")
@click.option("--from", "start", type=click.IntRange(0), help="Show entries from this index on.")
@json_lines_option
@click.pass_context
def follow(ctx: click.Context, log: str, start: int | None, as_json: bool) -> None:
    """Check LOG from its first entry on, then show what is new as it comes, until interrupted.

    Every entry is hashed here, and nothing is shown before a signed checkpoint covers it that
    extends the one before. LOG is an origin, or the end of one such as `registry` (the default).
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policy = Governance(channel, person, lambda: datetime.now(UTC)).policy()
        auditor = Auditor(channel, policy)
        origin = _origin(auditor, log)
        told = _commitment if policy.is_answer_log(origin) else _event
        with suppress(KeyboardInterrupt):
            for grown in auditor.follow(origin, start):
                for index, leaf in enumerate(grown.leaves, grown.first):
                    show_line({"entry": index, **told(leaf)}, as_json)
                state = {"checkpoint": grown.checkpoint.size, "root": grown.checkpoint.root.hex()}
                show_line({**state, "found": "consistent"}, as_json)


def _commitment(leaf: bytes) -> dict[str, object]:
    """What can be told of an answer's entry, which holds commitments alone."""
    return {"leaf": leaf_hash(leaf).hex()}


def _event(leaf: bytes) -> dict[str, object]:
    document = json.loads(leaf)
    return {name: document[name] for name in ("time", "event", "subject", "principal")}


def _verify(auditor: Auditor, origin: str, progress: Progress) -> LogFinding:
    task = progress.add_task(origin)

    def advance(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    return auditor.verify(origin, advance)


def _origin(auditor: Auditor, name: str) -> str:
    origins = [o for o in auditor.origins() if o == name or o.endswith(f"/{name}")]
    if len(origins) != 1:
        there = ", ".join(auditor.origins())
        raise click.ClickException(f"{name!r} is not one log; there are {there}")
    return origins[0]


def _flat(document: dict[str, object]) -> dict[str, object]:
    body = document.pop("body", None)
    return {**document, **(body if isinstance(body, dict) else {})}
