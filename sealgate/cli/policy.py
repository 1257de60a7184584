"""`sealgate policy`: what the signed policy says, whether a new one is sound, and why it allows."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from sealgate.cli.failures import HelpfulGroup
from sealgate.cli.output import json_option, show_fields, show_rows
from sealgate.cli.people import profile
from sealgate.cli.policy_chain import open_chain, policy_option, read_chain
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, next_policy
from sealgate.trust.rights import ACTION_ROLES, ALL, DEFAULT_ALIAS, Right, Target, decide


@click.group(cls=HelpfulGroup)
def policy() -> None:
    """Read the signed policy, check a new one, and ask why something is allowed or not."""


@policy.command(epilog="\b\nExamples:\n  sealgate policy show\n  sealgate policy show --json")
@policy_option
@json_option
@click.pass_context
def show(ctx: click.Context, policies: tuple[Path, ...], as_json: bool) -> None:
    """Show the policy in force: its people, then its rights.

    The chain is checked against the pinned root keys first.
    """
    current = open_chain(read_chain(ctx, policies), profile(ctx, "auditor"))
    people = [
        {"principal": p.name, "roles": ", ".join(p.roles), "identities": ", ".join(p.identities)}
        for p in current.principals
    ]
    rights = _rights(current)
    if as_json:
        show_fields(_summary(current) | {"people": people, "rights": rights}, as_json)
        return
    show_fields(_summary(current), as_json)
    click.echo()
    show_rows(people, ("principal", "roles", "identities"), as_json)
    click.echo()
    if rights is None:
        click.echo("It has no section rights: the roles alone decide.")
    else:
        show_rows(rights, ("right", "for", "actions", "models", "aliases"), as_json)


@policy.command(
    epilog="\b\nExample:\n  sealgate policy check policy-2.json   before the gateway gets it"
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@policy_option
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path, policies: tuple[Path, ...], as_json: bool) -> None:
    """Check the signed policy in FILE.

    It must be the first of a chain that the pinned root keys signed, or the next after the newest
    that is known. What is said then is whom its rights leave without any.
    """
    person = profile(ctx, "auditor")
    envelope = Envelope.decode(file.read_bytes())
    if Policy.decode(envelope.payload).version == 1:
        found = open_chain([envelope], person)
        signed = "by the pinned root keys"
    else:
        current = open_chain(read_chain(ctx, policies), person)
        if current.encode() == envelope.payload:
            found = current
            signed = "by the chain that is known: it is the newest policy"
        else:
            found = next_policy(current, envelope, datetime.now(UTC))
            signed = f"as the successor of version {current.version}"
    idle = ", ".join(_without_rights(found)) or "nobody"
    show_fields(_summary(found) | {"signed": signed, "without_rights": idle}, as_json)


@policy.command(
    epilog="""
\b
Examples:
  sealgate policy explain client infer --model digits
  sealgate policy explain admin promote --model digits --alias canary
"""
)
@click.argument("principal")
@click.argument("action", type=click.Choice(sorted(ACTION_ROLES)))
@click.option("--model", default=ALL, help="A model; without it, all of them.")
@click.option("--alias", help="An alias, or * for all of them and for a version by number.")
@policy_option
@json_option
@click.pass_context
def explain(
    ctx: click.Context,
    principal: str,
    action: str,
    model: str,
    alias: str | None,
    policies: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Say whether PRINCIPAL may do ACTION, and which right says so.

    Without --alias, infer and metadata mean production, as the gateway does, and all else means
    every alias. Exits with 1 where it is denied.
    """
    current = open_chain(read_chain(ctx, policies), profile(ctx, "auditor"))
    who = current.principal(principal)
    default = DEFAULT_ALIAS if action in ("infer", "metadata") else ALL
    target = Target(action, model, default if alias is None else alias)
    decision = decide(current.rights, who.name, who.roles, target)
    right = current.rights[decision.right - 1] if current.rights and decision.right else None
    if as_json:
        said = right.to_json() if right else None
        show_fields({"allowed": decision.allowed, "why": decision.why, "right": said}, as_json)
    else:
        lines = _row(decision.right, right) if decision.right and right else {}
        word = "yes" if decision.allowed else "no"
        show_fields({"allowed": word, "why": decision.why, **lines}, as_json)
    if not decision.allowed:
        ctx.exit(1)


def _summary(found: Policy) -> dict[str, Any]:
    return {
        "version": found.version,
        "digest": found.digest,
        "issued": found.issued,
        "expires": found.expires,
    }


def _rights(found: Policy) -> list[dict[str, Any]] | None:
    if found.rights is None:
        return None
    return [_row(number, right) for number, right in enumerate(found.rights, 1)]


def _row(number: int, right: Right) -> dict[str, Any]:
    return {
        "right": number,
        "for": ", ".join([*right.principals, *(f"role {role}" for role in right.roles)]),
        "actions": ", ".join(right.actions),
        "models": ", ".join(right.models),
        "aliases": ", ".join(right.aliases),
    }


def _without_rights(found: Policy) -> list[str]:
    """Who has a role that calls something, and yet no right at all."""
    if found.rights is None:
        return []
    calling = {role for roles in ACTION_ROLES.values() for role in roles}
    return [
        person.name
        for person in found.principals
        if not calling.isdisjoint(person.roles)
        and not any(right.names(person.name, person.roles) for right in found.rights)
    ]
