"""`sealgate model`: lists versions, moves aliases and follows changes."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from sealgate.cli.context import (
    alias_option,
    connected,
    governance_of,
    list_options,
    policy_history,
    profile,
)
from sealgate.cli.main import PluginGroup
from sealgate.cli.model.proposals import SCREENING_REPORT, approve, facts, proposals, propose
from sealgate.cli.model.replies import comment, reason_option, reject, withdraw
from sealgate.cli.output import (
    json_lines_option,
    json_option,
    printable,
    show_fields,
    show_line,
    show_rows,
    warn_unscreened,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import follow, list_all
from sealgate.signed_version import DETECTOR, SignedVersion, open_attached
from sealgate.trust import canonical, fields
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.policy.promotion_rules import RED_TEAM
from sealgate.trust.receipts.answer_entry import NONE
from sealgate.trust.statements import Evidence, Manifest
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2 import Version
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
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(_KINDS)))
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


def screening_facts(
    version: Version, policies: Sequence[Policy], registry: RegistryServiceStub
) -> dict[str, Any]:
    """Whether the bound on false alarms holds; of how many clean rows it is, with which confidence,
    and which share of such rows is found adversarial, or at least suspect: at most, and on average.

    A version without a detector has no such numbers, one without screening no bound. Raises
    SealgateError: as `SignedVersion.of` and `file` do, DIGEST_MISMATCH for another manifest,
    DOCUMENT_MALFORMED.
    """
    withdrawn = version.screening_withdrawn
    facts: dict[str, Any] = {"screening_bound": f"withdrawn {withdrawn}" if withdrawn else "holds"}
    signed = SignedVersion.of(
        version.name, version.manifest, version.signature, version.publisher, policies
    )
    if signed.manifest.digest != version.digest:
        raise SealgateError(Reason.DIGEST_MISMATCH, f"the manifest of {version.name}")
    if not signed.manifest.screened:
        return {"screening": NONE}
    if DETECTOR in {file.path for file in signed.manifest.files}:
        detector = fields.mapping(canonical.decode(signed.file(registry, DETECTOR)))
        facts |= _told(fields.mapping(detector.get("calibration")))
    return facts


def _told(calibration: dict[str, Any]) -> dict[str, Any]:
    rows, limits = len(fields.items(calibration.get("scores"))), {}
    for verdict in ("adversarial", "suspect"):
        limit = fields.mapping(calibration.get(verdict))
        limits[f"{verdict}_bound"] = limit.get("bound")
        # Of exchangeable rows, as many score above the rank's.
        limits[f"{verdict}_average"] = round(fields.integer(limit.get("rank")) / (rows + 1), 4)
    return {"calibrated_on": rows, "confidence": calibration.get("confidence"), **limits}


@click.command(
    epilog="\b\nExample:\n  sealgate --as approver-1 model attach digits 2 red-team.json"
)
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
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


for command in (watch, attach, propose, proposals, approve, reject, withdraw, comment):
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


_MOST_ITEMS = 8


@model.command(epilog="\b\nExample:\n  sealgate model show digits 1")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, version: int, as_json: bool) -> None:
    """Show one version: its digest, files and evidence."""
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        registry = governance_of(person, channel).registry
        request = messages.GetVersionRequest(name=f"models/{name}/versions/{version}")
        found = registry.GetVersion(request).version
        policies = policy_history(person, channel)
        screening = screening_facts(found, policies, registry)
        attached = open_attached(found.attached, found.digest, policies)
    about = {
        "version": found.name,
        "digest": found.digest,
        "publisher": found.publisher,
        "registered": found.create_time,
        "watermark_entry": found.watermark_entry,
        "revoked": found.revocation_reason or "no",
        **screening,
    }
    files = [
        {"file": f.path, "bytes": f.size, "digest": f.digest}
        for f in Manifest.decode(found.manifest).files
    ]
    items = [Evidence.decode(Envelope.decode(item).payload) for item in found.evidence]
    items += attached
    if as_json:
        evidence = [{"kind": e.kind, "maker": e.maker, "body": e.body} for e in items]
        show_fields({**about, "files": files, "evidence": evidence}, as_json)
        return
    show_fields(about, as_json)
    warn_unscreened(screening.get("screening"))
    show_rows(files, ("file", "bytes", "digest"), as_json)
    rows = [{"evidence": e.kind, "maker": e.maker, "created": e.created} for e in items]
    show_rows(rows, ("evidence", "maker", "created"), as_json)
    for item in items:
        click.echo(f"\n{item.kind}, by {item.maker}")
        if item.kind in (SCREENING_REPORT, RED_TEAM):
            for line in facts(item.body):
                # Whoever made it chose every word in it.
                click.echo(f"  {printable(line)}")
        else:
            show_rows(_facts_of(item.body), ("fact", "value"), as_json)


def _facts_of(body: object, name: str = "", depth: int = 2) -> list[dict[str, Any]]:
    """What evidence says, a fact a row; of what is deeper, how much there is."""
    if isinstance(body, dict) and depth:
        return [
            row
            for key, value in body.items()
            for row in _facts_of(value, f"{name}.{key}".lstrip("."), depth - 1)
        ]
    if isinstance(body, dict | list):
        plain = isinstance(body, list) and not any(isinstance(i, dict | list) for i in body)
        short = plain and len(body) <= _MOST_ITEMS
        text = ", ".join(map(str, body)) if short else f"{len(body)} items"
        return [{"fact": name, "value": text}]
    return [{"fact": name, "value": body}]


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
