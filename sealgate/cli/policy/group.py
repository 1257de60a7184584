"""`sealgate policy`: shows, checks and explains policies.

How a policy is made and accepted is in `sealgate.cli.policy.change`.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from sealgate.cli.context import open_chain, profile, read_chain
from sealgate.cli.model.proposals import facts
from sealgate.cli.options import EXISTING_FILE, policy_option
from sealgate.cli.output import HelpfulGroup, json_option, show_fields, show_rows
from sealgate.cli.policy import change
from sealgate.trust.policy import (
    ACTION_ROLES,
    DEFAULT_ALIAS,
    OPTIONAL_SECTIONS,
    WILDCARD,
    Policy,
    Right,
    decide_rights,
    next_policy,
    optional_sections,
)
from sealgate.trust.transparency import origin_of

RIGHT_COLUMNS = ("right", "for", "actions", "models", "aliases", "conditions")


@click.command(epilog="\b\nExamples:\n  sealgate policy show\n  sealgate policy show --json")
@policy_option
@json_option
@click.pass_context
def show(ctx: click.Context, policies: tuple[Path, ...], as_json: bool) -> None:
    """Show the policy in force: its rules, people, keys, logs and rights.

    The chain is checked against the pinned root keys first.
    """
    current = open_chain(read_chain(ctx, policies), profile(ctx, "auditor"))
    people = [
        {"principal": p.name, "roles": ", ".join(p.roles), "identities": ", ".join(p.identities)}
        for p in current.principals
    ]
    rights = None
    if current.rights is not None:
        rights = [right_row(number, right) for number, right in enumerate(current.rights, 1)]
    sections = optional_sections(current)
    keys = list(_keys(current))
    if as_json:
        logs = {"registry": current.registry_log, "answers": list(current.answer_logs)}
        told = {"people": people, "keys": keys, "logs": logs, "risk": None, "evidence": None}
        show_fields(summary(current) | _rules(current) | told | sections | {"rights": rights}, True)
        return
    show_fields(summary(current) | _rules(current), False)
    _show_table(people, ("principal", "roles", "identities"))
    _show_table(keys, ("key", "of"))
    _show_table(_logs(current), ("log", "verifier"))
    if rights is None:
        click.echo("\nIt has no section rights: the roles alone decide.")
    else:
        _show_table(rights, RIGHT_COLUMNS)
    for name in OPTIONAL_SECTIONS:
        if name in sections and name != "rights":
            click.echo(f"\n{name}")
            for line in facts(sections[name]):
                click.echo(f"  {line}")


def summary(policy: Policy) -> dict[str, Any]:
    """Return version, dates and digest of a policy."""
    return {
        "version": policy.version,
        "digest": policy.digest,
        "issued": policy.issued,
        "expires": policy.expires,
    }


def right_row(number: int, right: Right) -> dict[str, Any]:
    """A right, the number-th of its policy, as a row of a table."""
    return {
        "right": number,
        "for": ", ".join([*right.principals, *(f"role {role}" for role in right.roles)]),
        "actions": ", ".join(right.actions),
        "models": ", ".join(right.models),
        "aliases": ", ".join(right.aliases),
        "conditions": "; ".join(_conditions(right)),
    }


def _conditions(right: Right) -> Iterator[str]:
    if right.environments:
        yield f"environment {' or '.join(right.environments)}"
    if right.risk_tiers:
        yield f"risk tier {' or '.join(right.risk_tiers)}"


def _rules(policy: Policy) -> dict[str, Any]:
    rules = policy.rules
    approvals = ", ".join(f"{count} for {alias}" for alias, count in rules.approvals.items())
    return {
        "approvals": approvals,
        "adversarial": rules.adversarial,
        "suspect": rules.suspect,
        "freshness_seconds": rules.freshness_seconds,
        "grace_seconds": rules.grace_seconds,
        "root_threshold": policy.root.threshold,
    }


def _keys(policy: Policy) -> Iterator[dict[str, str]]:
    """Return the holder of each key. A former key vouches for what it signed."""
    for keyid in (*policy.keys, *policy.webauthn.keys):
        holder = policy.holder(keyid)
        names = [holder.name] if holder else []
        names += ["the root"] if keyid in policy.root.keys else []
        names += ["a passkey"] if keyid in policy.webauthn.keys else []
        withdrawn = policy.withdrawn.keys.get(keyid)
        names += [f"withdrawn since entry {withdrawn.since}"] if withdrawn else []
        yield {"key": keyid, "of": ", ".join(names) or "nobody any more"}


def _logs(policy: Policy) -> Iterator[dict[str, str]]:
    for vkey in (policy.registry_log, *policy.answer_logs):
        yield {"log": origin_of(vkey), "verifier": vkey}


def _show_table(rows: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> None:
    click.echo()
    show_rows(list(rows), columns, False)


@click.group(cls=HelpfulGroup)
def policy() -> None:
    """Show the signed policy, make a new one, and explain why something is allowed or not."""


for command in (
    change.accept,
    change.draft,
    change.fetch,
    change.sign,
    show,
):
    policy.add_command(command)


@policy.command(
    epilog="\b\nExample:\n  sealgate policy check policy-2.signed.json   before the gateway gets it"
)
@click.argument("file", type=EXISTING_FILE)
@policy_option
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path, policies: tuple[Path, ...], as_json: bool) -> None:
    """Check the signed policy in FILE.

    It must be the first of a chain that the pinned root keys signed, or the next after the newest
    known one. The output names principals that its rights leave without any right.
    """
    person = profile(ctx, "auditor")
    payload, envelope = change.read(file)
    if envelope is None:
        version = Policy.decode(payload).version
        raise click.ClickException(
            f"{file} is a sound draft of version {version}, which nobody has signed: have the "
            "roots sign it with `sealgate policy sign`"
        )
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
    show_fields(summary(found) | {"signed": signed, "without_rights": idle}, as_json)


@policy.command(
    epilog="""
\b
Examples:
  sealgate policy explain client infer --model digits
  sealgate policy explain admin promote --model digits --alias canary --environment staging
"""
)
@click.argument("principal")
@click.argument("action", type=click.Choice(sorted(ACTION_ROLES)))
@click.option("--model", default=WILDCARD, help="A model; default: all.")
@click.option("--alias", help="An alias, or * for all aliases and versions by number.")
@click.option("--environment", default="", help="The gateway's environment; default: unknown.")
@policy_option
@json_option
@click.pass_context
def explain(
    ctx: click.Context,
    principal: str,
    action: str,
    model: str,
    alias: str | None,
    environment: str,
    policies: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Say whether PRINCIPAL may do ACTION, and which right allows it.

    Without --alias, infer and metadata mean production, as in the gateway, and other actions mean
    every alias. The exit status is 1 if it is denied.
    """
    current = open_chain(read_chain(ctx, policies), profile(ctx, "auditor"))
    who = current.principal(principal)
    default = DEFAULT_ALIAS if action in ("infer", "metadata") else WILDCARD
    target = current.target(action, model, default if alias is None else alias, environment)
    decision = decide_rights(current.rights, who.name, who.roles, target)
    right = current.rights[decision.right - 1] if current.rights and decision.right else None
    if as_json:
        said = right.to_json() if right else None
        show_fields({"allowed": decision.allowed, "why": decision.why, "right": said}, as_json)
    else:
        lines = right_row(decision.right, right) if decision.right and right else {}
        word = "yes" if decision.allowed else "no"
        show_fields({"allowed": word, "why": decision.why, **lines}, as_json)
    if not decision.allowed:
        ctx.exit(1)


def _without_rights(found: Policy) -> list[str]:
    """Return principals whose role allows calls but who have no right."""
    if found.rights is None:
        return []
    calling = {role for roles in ACTION_ROLES.values() for role in roles}
    return [
        person.name
        for person in found.principals
        if not calling.isdisjoint(person.roles)
        and not any(right.names(person.name, person.roles) for right in found.rights)
    ]
