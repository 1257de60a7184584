"""`sealgate model`: lists versions, moves aliases and follows changes."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from sealgate.cli.context import connected, governance_of, profile
from sealgate.cli.main import PluginGroup
from sealgate.cli.model.proposals import approve, comment, proposals, propose, reject, withdraw
from sealgate.cli.model.show import inventory, show
from sealgate.cli.options import EXISTING_FILE, alias_option, list_options, reason_option
from sealgate.cli.output import (
    json_lines_option,
    json_option,
    show_fields,
    show_line,
    show_rows,
    warn_unscreened,
)
from sealgate.remote.calls import follow, list_all
from sealgate.trust.dsse import Envelope
from sealgate.trust.receipts.answer_entry import NONE
from sealgate.trust.statements import Evidence, Manifest
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_PREFIX = "CHANGE_KIND_"
_KINDS = {
    name.removeprefix(_PREFIX).lower().replace("_", "-"): name
    for name, number in messages.ChangeKind.items()
    if number
}
_WORDS = {messages.ChangeKind.Value(name): word for word, name in _KINDS.items()}
_TOLD = {
    "pointer": ("action", "version", "sequence", "digest", "reason"),
    "version": ("digest", "revocation_reason"),
    "proposal": ("digest",),
}


@click.command(
    epilog="""
\b
Examples:
  sealgate model watch                             every change, from now on
  sealgate model watch digits --kind pointer-moved
  sealgate model watch --from 0 --json             all that ever happened, then what comes
"""
)
@click.argument("name", required=False)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(list(_KINDS)),
    help="Only changes of this kind; may be repeated.",
)
@click.option("--from", "start", type=click.IntRange(0), help="The first log entry to show.")
@json_lines_option
@click.pass_context
def watch(
    ctx: click.Context, name: str | None, kinds: tuple[str, ...], start: int | None, as_json: bool
) -> None:
    """Show changes of the model NAME, or of all models, until interrupted.

    A broken connection is resumed where it ended. Each line begins with the change's index in the
    registry's log; to continue after it, pass --from with that index plus one.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        registry = RegistryServiceStub(channel)

        def stream(at: int | None, seconds: float) -> Any:
            request = messages.WatchChangesRequest(
                model=name, kinds=[_KINDS[kind] for kind in kinds], start=at
            )
            return registry.WatchChanges(request, timeout=seconds)

        with suppress(KeyboardInterrupt):
            for message in follow(stream, _after, start):
                if message.HasField("change"):
                    show_line(_as_line(message.change), as_json)


def _after(message: messages.WatchChangesResponse) -> int:
    return message.next


def _as_line(change: messages.Change) -> dict[str, Any]:
    kind = _WORDS.get(change.kind, str(change.kind))
    told: dict[str, Any] = {"index": change.index, "time": change.time, "kind": kind}
    told |= {"subject": change.subject, "principal": change.principal}
    payload = change.WhichOneof("payload")
    if payload in _TOLD:
        record = getattr(change, payload)
        told |= {field: value for field in _TOLD[payload] if (value := getattr(record, field))}
    return told


@click.command(
    epilog="\b\nExample:\n  sealgate --as approver-1 model attach digits 2 red-team.json"
)
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@click.argument("file", type=EXISTING_FILE)
@json_option
@click.pass_context
def attach(ctx: click.Context, name: str, version: int, file: Path, as_json: bool) -> None:
    """Attach the signed evidence in FILE to VERSION of the model NAME, permanently.

    `sealgate attack --output` writes such a file. Everyone who is asked to approve the version is
    shown it from then on; the registry's log records when it came.
    """
    person = profile(ctx, "approver-1")
    data = file.read_bytes()
    with connected(person) as channel:
        found = governance_of(person, channel).attach(name, version, data)
    item = Evidence.decode(Envelope.decode(data).payload)
    show_fields(
        {"version": found.name, "attached": item.kind, "items": len(found.attached)}, as_json
    )


class ModelGroup(PluginGroup):
    joined_by = "sealgate.commands.model"


@click.group(cls=ModelGroup)
def model() -> None:
    """Publish, approve, promote, roll back and revoke versions."""


for command in (
    inventory,
    watch,
    show,
    attach,
    propose,
    proposals,
    approve,
    reject,
    withdraw,
    comment,
):
    model.add_command(command)


@model.command(
    "list",
    epilog="\b\nExamples:\n  sealgate model list\n"
    "  sealgate model list digits --limit 5\n"
    "  sealgate model list digits --filter 'publisher = publisher AND NOT revocation_reason:*'",
)
@click.argument("name", required=False)
@list_options
@json_option
@click.pass_context
def list_(
    ctx: click.Context, name: str | None, filter_: str, limit: int | None, as_json: bool
) -> None:
    """List models, or the versions of the model NAME."""
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        registry = governance_of(person, channel).registry
        if name is None:
            models = messages.ListModelsRequest(filter=filter_)
            rows: list[dict[str, Any]] = [
                {
                    "model": m.name.partition("/")[2],
                    "versions": m.latest_version,
                    "creator": m.creator,
                }
                for m in list_all(registry.ListModels, models, "models", limit)
            ]
            show_rows(rows, ("model", "versions", "creator"), as_json)
            return
        versions = messages.ListVersionsRequest(
            model=name, filter=filter_, view=messages.VERSION_VIEW_BASIC
        )
        rows = [
            {
                "version": v.name,
                "digest": v.digest,
                "publisher": v.publisher,
                "revoked": v.revocation_reason or "no",
                "screened": "yes" if Manifest.decode(v.manifest).screened else "no",
            }
            for v in list_all(registry.ListVersions, versions, "versions", limit)
        ]
    show_rows(rows, ("version", "digest", "publisher", "revoked", "screened"), as_json)
    warn_unscreened(NONE if any(row["screened"] == "no" for row in rows) else None)


@model.command(
    epilog="\b\nExample:\n  sealgate model promote sha256:0123… --reason 'quarterly release'"
)
@click.argument("proposal")
@reason_option
@json_option
@click.pass_context
def promote(ctx: click.Context, proposal: str, reason: str, as_json: bool) -> None:
    """Move an alias to the version in an approved PROPOSAL."""
    person = profile(ctx, "admin")
    with connected(person) as channel:
        _show_pointer(governance_of(person, channel).promote(proposal, reason), as_json)


@model.command(epilog="\b\nExample:\n  sealgate model rollback digits 1 --reason 'complaints'")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@alias_option
@reason_option
@json_option
@click.pass_context
def rollback(
    ctx: click.Context, name: str, version: int, alias: str, reason: str, as_json: bool
) -> None:
    """Return an alias of NAME to a VERSION that it pointed to before."""
    person = profile(ctx, "admin")
    with connected(person) as channel:
        pointer = governance_of(person, channel).rollback(name, alias, version, reason)
    _show_pointer(pointer, as_json)


@model.command(
    epilog="\b\nExample:\n  sealgate model revoke digits 2 --reason 'trained on wrong data'"
)
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@reason_option
@json_option
@click.pass_context
def revoke(ctx: click.Context, name: str, version: int, reason: str, as_json: bool) -> None:
    """Revoke VERSION of NAME permanently; nothing serves it any more."""
    person = profile(ctx, "admin")
    with connected(person) as channel:
        revoked = governance_of(person, channel).revoke(name, version, reason)
    show_fields({"revoked": revoked.name, "reason": revoked.revocation_reason}, as_json)


@model.command(
    epilog="\b\nExamples:\n  sealgate model history digits\n"
    "  sealgate model history digits --filter 'action = rollback OR version = 2' --limit 10"
)
@click.argument("name")
@alias_option
@list_options
@json_option
@click.pass_context
def history(
    ctx: click.Context, name: str, alias: str, filter_: str, limit: int | None, as_json: bool
) -> None:
    """List every move of an alias of the model NAME, newest first."""
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        pointers = list(governance_of(person, channel).moves(name, alias, filter_, limit))
    columns = ("sequence", "action", "version", "admin", "time", "reason")
    show_rows([{c: getattr(p, c) for c in columns} for p in pointers], columns, as_json)


def _show_pointer(pointer: messages.Pointer, as_json: bool) -> None:
    columns = ("name", "sequence", "action", "version", "digest", "admin", "time")
    show_fields({c: getattr(pointer, c) for c in columns}, as_json)
