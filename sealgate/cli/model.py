"""`sealgate model`: versions, proposals, approvals, and the moves of an alias."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import grpc

from sealgate.cli.attach import attach
from sealgate.cli.calibration import screening_facts
from sealgate.cli.lists import list_options
from sealgate.cli.main import JoinedGroup
from sealgate.cli.output import ask_secret, json_option, printable, show_fields, show_rows
from sealgate.cli.people import connected, profile
from sealgate.cli.policy_chain import policy_history
from sealgate.cli.review import SCREENING_REPORT, facts, show_review
from sealgate.cli.watch import watch
from sealgate.governance import Governance
from sealgate.later_evidence import open_attached
from sealgate.listing import every
from sealgate.remote import Profile
from sealgate.trust.dsse import Envelope
from sealgate.trust.evidence_rules import RED_TEAM
from sealgate.trust.manifest import Manifest
from sealgate.trust.statements import Approval, Evidence, Proposal
from sealgate.v1 import registry_pb2 as messages

_alias_option = click.option(
    "--alias", default="production", show_default=True, help="Which pointer is meant."
)
_reason_option = click.option("--reason", required=True, help="Why; it is signed and kept.")


class ModelGroup(JoinedGroup):
    joined_by = "sealgate.commands.model"


@click.group(cls=ModelGroup)
def model() -> None:
    """Publish, approve, promote, roll back and revoke versions."""


model.add_command(watch)
model.add_command(attach)


def _governance(channel: grpc.Channel, person: Profile) -> Governance:
    return Governance(channel, person, lambda: datetime.now(UTC), ask_secret)


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
        registry = _governance(channel, person).registry
        if name is None:
            models = messages.ListModelsRequest(filter=filter_)
            rows: list[dict[str, Any]] = [
                {
                    "model": m.name.partition("/")[2],
                    "versions": m.latest_version,
                    "creator": m.creator,
                }
                for m in every(registry.ListModels, models, "models", limit)
            ]
            show_rows(rows, ("model", "versions", "creator"), as_json)
            return
        versions = messages.ListVersionsRequest(model=name, filter=filter_)
        rows = [
            {
                "version": v.name,
                "digest": v.digest,
                "publisher": v.publisher,
                "revoked": v.revocation_reason or "no",
            }
            for v in every(registry.ListVersions, versions, "versions", limit)
        ]
    show_rows(rows, ("version", "digest", "publisher", "revoked"), as_json)


@model.command(epilog="\b\nExample:\n  sealgate model show digits 1")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, version: int, as_json: bool) -> None:
    """Show one version: its digest, files and evidence."""
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        registry = _governance(channel, person).registry
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
    show_rows(files, ("file", "bytes", "digest"), as_json)
    rows = [{"evidence": e.kind, "maker": e.maker, "created": e.created} for e in items]
    show_rows(rows, ("evidence", "maker", "created"), as_json)
    for item in (e for e in items if e.kind in (SCREENING_REPORT, RED_TEAM)):
        click.echo(f"{item.kind}, by {item.maker}")
        for line in facts(item.body):
            # Whoever made it chose every word in it.
            click.echo(f"  {printable(line)}")


@model.command(
    epilog="\b\nExamples:\n  sealgate model propose digits 1 --alias production\n"
    "  sealgate model propose digits 2 --alias canary --share 10"
)
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@_alias_option
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
        proposal = _governance(channel, person).propose(name, version, alias, lifetime, share)
    show_fields({"proposal": proposal.digest}, as_json)


@model.command(
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
        registry = _governance(channel, person).registry
        rows = [
            _proposal_row(p) for p in every(registry.ListProposals, request, "proposals", limit)
        ]
    columns = ("proposal", "alias", "version", "proposer", "approved_by", "until")
    show_rows(rows, columns, as_json)


@model.command(epilog="\b\nExample:\n  sealgate --as approver-1 model approve sha256:0123…")
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
        governance = _governance(channel, person)
        review = governance.review(proposal, lambda path: click.echo(f"hashing {path}", err=True))
        show_review(review)
        if meaning is None:
            meaning = click.prompt("What does your signature mean? (for example: reviewed, safe)")
        approved = governance.approve(proposal, meaning)
    show_fields({"proposal": proposal, "approved_by": _approvers(approved)}, as_json)


@model.command(
    epilog="\b\nExample:\n  sealgate model promote sha256:0123… --reason 'quarterly release'"
)
@click.argument("proposal")
@_reason_option
@json_option
@click.pass_context
def promote(ctx: click.Context, proposal: str, reason: str, as_json: bool) -> None:
    """Move an alias to what an approved PROPOSAL names."""
    person = profile(ctx, "admin")
    with connected(person) as channel:
        _show_pointer(_governance(channel, person).promote(proposal, reason), as_json)


@model.command(epilog="\b\nExample:\n  sealgate model rollback digits 1 --reason 'complaints'")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@_alias_option
@_reason_option
@json_option
@click.pass_context
def rollback(
    ctx: click.Context, name: str, version: int, alias: str, reason: str, as_json: bool
) -> None:
    """Return an alias of NAME to a VERSION that it named before."""
    person = profile(ctx, "admin")
    with connected(person) as channel:
        pointer = _governance(channel, person).rollback(name, alias, version, reason)
    _show_pointer(pointer, as_json)


@model.command(
    epilog="\b\nExample:\n  sealgate model revoke digits 2 --reason 'trained on wrong data'"
)
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@_reason_option
@json_option
@click.pass_context
def revoke(ctx: click.Context, name: str, version: int, reason: str, as_json: bool) -> None:
    """Revoke VERSION of NAME for good; nothing serves it any more."""
    person = profile(ctx, "admin")
    with connected(person) as channel:
        revoked = _governance(channel, person).revoke(name, version, reason)
    show_fields({"revoked": revoked.name, "reason": revoked.revocation_reason}, as_json)


@model.command(
    epilog="\b\nExamples:\n  sealgate model history digits\n"
    "  sealgate model history digits --filter 'action = rollback OR version = 2' --limit 10"
)
@click.argument("name")
@_alias_option
@list_options
@json_option
@click.pass_context
def history(
    ctx: click.Context, name: str, alias: str, filter_: str, limit: int | None, as_json: bool
) -> None:
    """List every move of an alias of the model NAME, newest first."""
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        pointers = list(_governance(channel, person).moves(name, alias, filter_, limit))
    columns = ("sequence", "action", "version", "admin", "time", "reason")
    show_rows([{c: getattr(p, c) for c in columns} for p in pointers], columns, as_json)


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


def _show_pointer(pointer: messages.Pointer, as_json: bool) -> None:
    columns = ("name", "sequence", "action", "version", "digest", "admin", "time")
    show_fields({c: getattr(pointer, c) for c in columns}, as_json)
