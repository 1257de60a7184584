"""`sealgate policy show`: prints the policy in force, section by section."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from sealgate.cli.context import open_chain, policy_option, profile, read_chain
from sealgate.cli.model.proposals import facts
from sealgate.cli.output import json_option, show_fields, show_rows
from sealgate.trust.policy import Policy, Right, document

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
    sections = document.optional_sections(current)
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
    for name in document.OPTIONAL_SECTIONS:
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
    for keyid in policy.keys:
        holder = policy.holder(keyid)
        names = [holder.name] if holder else []
        names += ["the root"] if keyid in policy.root.keys else []
        withdrawn = policy.withdrawn.keys.get(keyid)
        names += [f"withdrawn since entry {withdrawn.since}"] if withdrawn else []
        yield {"key": keyid, "of": ", ".join(names) or "nobody any more"}


def _logs(policy: Policy) -> Iterator[dict[str, str]]:
    for vkey in (policy.registry_log, *policy.answer_logs):
        yield {"log": vkey.partition("+")[0], "verifier": vkey}


def _show_table(rows: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> None:
    click.echo()
    show_rows(list(rows), columns, False)
