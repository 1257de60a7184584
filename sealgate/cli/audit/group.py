"""`sealgate audit`: its commands; it shows and follows entries, and compares engines' counts."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from sealgate.audit import (
    Auditor,
    AuditReader,
    Completeness,
    RecordedCounts,
    compare_counts,
    live_pointers,
    note_entry,
    read_statements,
)
from sealgate.cli.audit import blast_radius, decisions, export, verify
from sealgate.cli.audit.decisions import Moment
from sealgate.cli.context import connected, governance_of, other_logs, policy_history, profile
from sealgate.cli.main import PluginGroup
from sealgate.cli.options import FILE
from sealgate.cli.output import json_lines_option, json_option, show_fields, show_line, show_rows
from sealgate.client.consistency import ClientMemory, ClientMemoryFile
from sealgate.files import replace_file
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.cose_receipt import TransparentStatement
from sealgate.trust.times import format_time
from sealgate.trust.transparency.merkle import leaf_hash
from sealgate.v1 import log_pb2 as messages

_COLUMNS = ("version", "statement", "counted", "recorded", "missing", "in_doubt")
_NOTHING_SIGNED = (
    "unknown: no engine has signed counts. An engine in a process of its own ([engine] in "
    "gateway.toml) signs them about once a minute. What an engine in the gateway's own process "
    "ran, nobody else can say."
)


@click.command(
    epilog="\b\nExamples:\n  sealgate audit completeness\n  sealgate audit completeness --slack 60"
)
@click.option(
    "--slack",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest request plus the difference of the clocks of gateway and engine.",
)
@json_option
@click.pass_context
def completeness(ctx: click.Context, slack: float, as_json: bool) -> None:
    """Compare the requests that engines signed that they ran with the entries of the answer log.

    For each version, the statement with the most missing requests is shown: how many requests were
    counted by then, how many were recorded, how many are missing at least, and how many entries are
    in doubt because they were too close to that moment or can't be opened. The exit status is 1 if
    a request is missing. It needs a separate engine ([engine]). An engine in the gateway's process
    signs nothing, because whoever controls the gateway has its key: the output then says that
    nothing is known, and the exit status is 0. A killed engine loses the counts since its last
    statement (a minute, `anchor_every`), and a killed gateway loses the entries of requests not yet
    answered.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        reader = AuditReader(channel, policies[-1], lambda: datetime.now(UTC))
        statements = read_statements(reader.records(), policies)
        here = Auditor(channel, policies[-1]).answer_logs()
        now = datetime.now(UTC)
        # Entries are compared with statements, so without these they need not be opened.
        recorded, unknown = _read(reader, here) if statements else ({}, 0)
    if not statements:
        _say_unknown(as_json)
        return
    found = compare_counts(statements, recorded, unknown, timedelta(seconds=slack), now)
    _show(found, unknown, other_logs(policies[-1], here), as_json)
    if any(version.missing for version in found):
        ctx.exit(1)


def _read(reader: AuditReader, origins: list[str]) -> tuple[dict[str, RecordedCounts], int]:
    """Return the recorded counts by version, and the number of entries that nobody can open."""
    recorded: dict[str, RecordedCounts] = {}
    unknown = 0
    for origin in origins:
        for opened in reader.openings(origin, 0, reader.size(origin)):
            values = None if opened.fields is None else dict(opened.fields)
            unknown += not note_entry(recorded, values)
    return recorded, unknown


def _say_unknown(as_json: bool) -> None:
    """Say that there is nothing to compare, which is no failure: the default installation has no
    separate engine.
    """
    told = {"versions": [], "unopened": 0, "elsewhere": [], "unknown": _NOTHING_SIGNED}
    click.echo(json.dumps(told, indent=2) if as_json else _NOTHING_SIGNED)


def _show(found: list[Completeness], unknown: int, elsewhere: list[str], as_json: bool) -> None:
    rows = [
        {
            "version": version.digest,
            "statement": version.time,
            "counted": version.counted,
            "recorded": version.recorded,
            "missing": version.missing,
            "in_doubt": version.in_doubt,
        }
        for version in found
    ]
    if as_json:
        told = {"versions": rows, "unopened": unknown, "elsewhere": elsewhere}
        click.echo(json.dumps(told, indent=2))
        return
    show_rows(rows, _COLUMNS, as_json)
    if unknown:
        click.echo(f"{unknown} entries cannot be opened; each may be about any version")
    for origin in elsewhere:
        click.echo(f"{origin} is another gateway's: what is missing here may stand there")


@click.command(
    "as-of",
    epilog="\b\nExamples:\n  sealgate audit as-of 2026-11-25T10:00:00Z\n"
    "  sealgate audit as-of 2026-11-25 digits --json",
)
@click.argument("moment", metavar="TIME", type=Moment())
@click.argument("model", default="")
@json_option
@click.pass_context
def as_of(ctx: click.Context, moment: datetime, model: str, as_json: bool) -> None:
    """Show which versions were live at TIME, and the log entries that prove it.

    A move that the gateway left out shows, because the next move is proved too. `audit verify` and
    `audit follow` check that everybody is shown the same log.
    """
    now = datetime.now(UTC)
    if moment > now:
        raise click.BadParameter("that time is to come", param_hint="TIME")
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policy = policy_history(person, channel)[-1]
        reader = AuditReader(channel, policy, lambda: datetime.now(UTC))
        text = format_time(moment)
        found = live_pointers(reader.live_at(text, model), text, model)
    rows = [
        {
            "model": s.model,
            "alias": s.alias,
            "version": s.version,
            "digest": s.digest,
            "sequence": s.sequence,
            "action": s.action,
            "admin": s.admin,
            "since": s.since,
            "until": s.until,
            "revoked": s.revoked,
            "entry": s.entry,
        }
        for s in found
    ]
    columns = ("model", "alias", "version", "digest", "sequence", "admin", "since", "revoked")
    show_rows(rows, (*columns, "entry"), as_json)


class AuditGroup(PluginGroup):
    joined_by = "sealgate.commands.audit"


@click.group(cls=AuditGroup)
def audit() -> None:
    """Verify the logs and inspect them."""


for command in (as_of, decisions.decision, export.dossier, export.check_dossier):
    audit.add_command(command)
for command in (decisions.find, verify.verify):
    audit.add_command(command)
for command in (blast_radius.blast_radius, blast_radius.readers, completeness):
    audit.add_command(command)


@audit.command(
    epilog="\b\nExamples:\n  sealgate audit show registry 3\n  sealgate audit show answers 12\n"
    "  sealgate audit show answers 12 --receipt receipt.json\n"
    "  sealgate audit show registry 3 --statement statement.cose"
)
@click.argument("log")
@click.argument("index", type=click.IntRange(0))
@click.option(
    "--receipt",
    "file",
    type=FILE,
    help="Write the receipt of an answer log's entry to this file, every field opened.",
)
@click.option(
    "--statement",
    type=FILE,
    help="Write the entry to this file as a transparent statement (RFC 9943) with its receipt.",
)
@json_option
@click.pass_context
def show(
    ctx: click.Context,
    log: str,
    index: int,
    file: Path | None,
    statement: Path | None,
    as_json: bool,
) -> None:
    """Show entry INDEX of LOG.

    LOG is an origin, or the end of one such as `registry` or `answers`.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policy = governance_of(person, channel).policy()
        auditor = Auditor(channel, policy)
        origin = _origin(auditor, log)
        if statement is not None:
            _keep_statement(auditor, policy, origin, index, statement)
        if policy.is_answer_log(origin):
            request = messages.OpenEntryRequest(origin=origin, index=index)
            receipt = Receipt.decode(auditor.logs.OpenEntry(request).receipt)
            opened = dict(verify_receipt(receipt, policy).fields)
            if file is not None:
                replace_file(file, receipt.encode())
            show_fields(opened, as_json)
            return
        if file is not None:
            raise click.UsageError("only entries of an answer log have receipts")
        entry = auditor.logs.GetEntry(messages.GetEntryRequest(origin=origin, index=index)).leaf
    document = json.loads(entry)
    show_fields(document if as_json else _flat(document), as_json)


def _keep_statement(auditor: Auditor, policy: Policy, origin: str, index: int, file: Path) -> None:
    request = messages.GetTransparentStatementRequest(origin=origin, index=index)
    data = auditor.logs.GetTransparentStatement(request).statement
    proved, tree = TransparentStatement.decode(data).verify(policy)
    if (tree.origin, proved) != (origin, index):
        raise SealgateError(Reason.PROOF_INVALID, "the statement is of another entry")
    replace_file(file, data)


@audit.command(
    epilog="\b\nExamples:\n  sealgate audit follow registry\n"
    "  sealgate audit follow answers --json --known seen.json"
)
@click.argument("log", default="registry")
@click.option("--from", "start", type=click.IntRange(0), help="Show entries from this index on.")
@click.option(
    "--known",
    type=FILE,
    help="Continue from the checkpoint in this file, and store each new one there.",
)
@json_lines_option
@click.pass_context
def follow(
    ctx: click.Context, log: str, start: int | None, known: Path | None, as_json: bool
) -> None:
    """Verify LOG from its first entry, then show new entries as they come, until interrupted.

    Every entry is hashed here. Nothing is shown before a signed checkpoint covers it that extends
    the one before. LOG is an origin, or the end of one such as `registry` (the default).

    With --known, only hashes of entries that were verified before are read, 32 bytes each, and they
    must lead to the known root. The file may be the one that a client keeps.
    """
    file = ClientMemoryFile(known) if known is not None else None
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policy = governance_of(person, channel).policy()
        auditor = Auditor(channel, policy)
        origin = _origin(auditor, log)
        told = _commitment if policy.is_answer_log(origin) else _event
        with suppress(KeyboardInterrupt):
            note = file.load().notes.get(origin) if file else None
            seen = ClientMemory.checkpoint(note) if note else None
            for grown in auditor.follow(origin, start, seen):
                for index, leaf in enumerate(grown.leaves, grown.first):
                    show_line({"entry": index, **told(leaf)}, as_json)
                state = {"checkpoint": grown.checkpoint.size, "root": grown.checkpoint.root.hex()}
                show_line({**state, "found": "consistent"}, as_json)
                if file is not None:
                    file.save(ClientMemory(policy.version, {origin: grown.note}))


def _commitment(leaf: bytes) -> dict[str, object]:
    """Describe an answer's entry, which holds commitments only."""
    return {"leaf": leaf_hash(leaf).hex()}


def _event(leaf: bytes) -> dict[str, object]:
    document = json.loads(leaf)
    return {name: document[name] for name in ("time", "event", "subject", "principal")}


def _origin(auditor: Auditor, name: str) -> str:
    origins = [o for o in auditor.origins() if o == name or o.endswith(f"/{name}")]
    if len(origins) != 1:
        there = ", ".join(auditor.origins())
        raise click.ClickException(f"{name!r} is not one log; there are {there}")
    return origins[0]


def _flat(document: dict[str, object]) -> dict[str, object]:
    body = document.pop("body", None)
    return {**document, **(body if isinstance(body, dict) else {})}
