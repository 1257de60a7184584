"""`sealgate audit` and its commands for checking logs and showing single entries."""

import json
from contextlib import suppress
from pathlib import Path

import click

from sealgate.audit import Auditor
from sealgate.cli.audit import blast_radius, completeness, decisions, verify
from sealgate.cli.context import connected, governance_of, profile
from sealgate.cli.main import PluginGroup
from sealgate.cli.output import json_lines_option, json_option, show_fields, show_line
from sealgate.client.consistency import ClientMemory, ClientMemoryFile
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.transparency.merkle import leaf_hash
from sealgate.v1 import log_pb2 as messages


class AuditGroup(PluginGroup):
    joined_by = "sealgate.commands.audit"


@click.group(cls=AuditGroup)
def audit() -> None:
    """Verify the logs and inspect them."""


for command in (decisions.as_of, decisions.decision):
    audit.add_command(command)
audit.add_command(verify.verify)
for command in (blast_radius.blast_radius, blast_radius.readers, completeness.completeness):
    audit.add_command(command)


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
        policy = governance_of(person, channel).policy()
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
    epilog="\b\nExamples:\n  sealgate audit follow registry\n"
    "  sealgate audit follow answers --json --known seen.json"
)
@click.argument("log", default="registry")
@click.option("--from", "start", type=click.IntRange(0), help="Show entries from this index on.")
@click.option(
    "--known",
    type=click.Path(dir_okay=False, path_type=Path),
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
