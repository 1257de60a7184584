"""The topics of a dossier: each finds in the record what can be claimed, with its citations."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sealgate.dossier.about_version import (
    data,
    development,
    evaluation,
    intended_use,
    model_card,
    red_team,
    screening,
    supply_chain,
    watermark,
)
from sealgate.dossier.record import Citation, DossierClaim, ModelHistory, not_covered
from sealgate.promotion.reviews import review_state
from sealgate.trust.policy import DEFAULT_ALIAS, EvidenceRules
from sealgate.trust.statements import Proposal, review_end
from sealgate.trust.statements.types import PROMOTE, ROLLBACK
from sealgate.trust.times import format_time, parse_time

_MOVED = {PROMOTE: "promoted", ROLLBACK: "rolled back"}
Topic = Callable[[ModelHistory, str], Iterator[DossierClaim]]
"""From a record and the time of the dossier, as text, to its claims."""


def inventory(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """Name, tier, owner, what is live and when it is to be reviewed."""
    policy, cited = record.policy, (record.policy_citation,)
    if record.created is not None:
        by, at = record.created.principal, record.created.time
        yield DossierClaim(
            f"Model {record.model}, created by {by} at {at}", (Citation(record.created.index),)
        )
    tier = policy.risk.tier(record.model) if policy.risk else ""
    if tier:
        yield DossierClaim(f"Risk tier {tier}, by version {policy.version} of the policy", cited)
    else:
        yield not_covered("a risk tier, for the policy states none of this model")
    if owner := policy.owner(record.model):
        yield DossierClaim(f"Owner {owner}, by version {policy.version} of the policy", cited)
    else:
        yield not_covered("an owner, for the policy names none")
    for alias in sorted(policy.rules.approvals):
        live = record.live(alias)
        if live is None:
            continue
        said, bundle = live
        pointer = said.statement
        yield DossierClaim(
            f"{alias} names version {pointer.version} ({pointer.digest}) since {pointer.time}, "
            f"{_MOVED[pointer.action]} by {pointer.admin}: {pointer.reason}",
            (said.citation,),
        )
        end = review_end(bundle, policy)
        if end is not None:
            state = review_state(end, parse_time(time))
            yield DossierClaim(
                f"Approvals of {alias} count until {format_time(end)}: review {state} at {time}",
                (said.citation, *cited),
            )


def versions(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """Every version, and the files of the one that the dossier describes."""
    for version in record.versions.values():
        files = version.manifest.files
        yield DossierClaim(
            f"Version {version.number}, {version.manifest.digest}, registered by "
            f"{version.entry.principal} at {version.entry.time}: {len(files)} files, "
            f"{sum(file.size for file in files)} bytes",
            (version.citation,),
        )
    subject = record.subject()
    if subject is None:
        yield not_covered("a version, for none is registered")
        return
    for file in subject.manifest.files:
        yield DossierClaim(
            f"Version {subject.number}: file {file.path}, {file.size} bytes, {file.digest}",
            (subject.citation,),
        )


def approvals(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """The proposal and approvals of the live version, their meaning, and the policy's demands."""
    for alias in sorted(record.policy.rules.approvals):
        live = record.live(alias)
        if live is None:
            continue
        _, bundle = live
        digest = bundle.proposal.payload_digest
        proposal = Proposal.decode(bundle.proposal.payload)
        proposed = record.proposals[digest]
        yield DossierClaim(
            f"{alias}, version {proposal.version}: proposed by {proposal.proposer} at "
            f"{proposed.entry.time}, under policy {proposal.policy}",
            (proposed.citation,),
        )
        for said in record.approvals:
            if said.statement.proposal == digest:
                yield DossierClaim(
                    f"{alias}, version {proposal.version}: approved by "
                    f"{said.statement.approver} at {said.entry.time}, meaning: "
                    f"{said.statement.meaning}",
                    (said.citation,),
                )
        needed = record.policy.approvals_for(alias, record.model)
        yield DossierClaim(
            f"{alias} needs {needed} approvals by people who neither published nor proposed",
            (record.policy_citation,),
        )
    if record.live(DEFAULT_ALIAS) is None:
        yield not_covered("approvals for production, for nothing was promoted")


def changes(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """The changes over the model's life, in the log's order."""
    told: list[tuple[int, DossierClaim]] = []
    for version in record.versions.values():
        text = f"{version.entry.time} version {version.number} registered"
        told.append((version.entry.index, DossierClaim(text, (version.citation,))))
    for said, _ in record.moves:
        p = said.statement
        text = f"{said.entry.time} {p.alias} {_MOVED[p.action]} to version {p.version} by {p.admin}"
        told.append((said.entry.index, DossierClaim(f"{text}: {p.reason}", (said.citation,))))
    for said in record.attached:
        text = f"{said.entry.time} {said.statement.kind} attached by {said.statement.maker}"
        told.append((said.entry.index, DossierClaim(text, (said.citation,))))
    for said in record.withdrawals:
        text = f"{said.entry.time} proposal withdrawn by {said.statement.proposer}"
        told.append((said.entry.index, DossierClaim(text, (said.citation,))))
    for said in record.comments:
        text = f"{said.entry.time} comment by {said.entry.principal}: {said.statement.text}"
        told.append((said.entry.index, DossierClaim(text, (said.citation,))))
    yield from (claim for _, claim in sorted(told, key=lambda each: each[0]))


def incidents(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """Rollbacks, revocations, rejections, and screening whose bound no longer held."""
    told: list[tuple[int, DossierClaim]] = []
    for said, _ in record.moves:
        p = said.statement
        if p.action == ROLLBACK:
            text = f"{said.entry.time} {p.alias} rolled back by {p.admin}: {p.reason}"
            told.append((said.entry.index, DossierClaim(text, (said.citation,))))
    for said in record.revocations:
        r = said.statement
        text = f"{said.entry.time} version {r.version} revoked by {r.admin}: {r.reason}"
        told.append((said.entry.index, DossierClaim(text, (said.citation,))))
    for said in record.rejections:
        r = said.statement
        text = f"{said.entry.time} proposal rejected by {r.approver}: {r.reason}"
        told.append((said.entry.index, DossierClaim(text, (said.citation,))))
    for entry in record.drifts:
        version = entry.subject.rpartition("/")[2]
        text = f"{entry.time} bound on false alarms of version {version} withdrawn: traffic changed"
        told.append((entry.index, DossierClaim(text, (Citation(entry.index),))))
    if not told and record.created is not None:
        yield DossierClaim(
            f"No rollback, revocation, rejection or withdrawn bound among {record.size} entries",
            (Citation(record.created.index),),
        )
    yield from (claim for _, claim in sorted(told, key=lambda each: each[0]))


def oversight(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """People's decisions: approvals, verdicts that step up, and who may stop a version."""
    policy, cited = record.policy, (record.policy_citation,)
    screen = policy.screen(record.model)
    for verdict in ("suspect", "adversarial"):
        action = screen.action(verdict, (), policy.rules)
        yield DossierClaim(f"An answer to {verdict} input leads to: {action}", cited)
    for role, what in (("approver", "approve or reject"), ("admin", "promote, return, revoke")):
        names = ", ".join(person.name for person in policy.with_role(role)) or "nobody"
        yield DossierClaim(f"People who may {what}: {names}", cited)
    if record.allowances:
        yield DossierClaim(
            f"{len(record.allowances)} withheld requests were allowed by a second person",
            tuple(Citation(entry.index) for entry in record.allowances[-8:]),
        )


def monitoring(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """The limits that are watched in operation, and their consequences."""
    policy, cited = record.policy, (record.policy_citation,)
    limited = [
        alias
        for alias in sorted(policy.rules.approvals)
        if policy.health is not None and policy.health.limits(record.model, alias)
    ]
    if limited:
        yield DossierClaim(f"Limits beyond which a service rolls back: {', '.join(limited)}", cited)
    else:
        yield not_covered("automatic rollback, for the policy states no limits of this model")
    yield from _outcomes(record)
    sessions = policy.screen(record.model).sessions
    if sessions is not None:
        yield DossierClaim(
            f"Attacks over many requests of a caller lead to: search {sessions.search}, "
            f"extraction {sessions.extraction}",
            cited,
        )
    else:
        yield not_covered("attacks over many requests, for the policy watches no sessions")
    if not record.drifts and record.created is not None:
        yield DossierClaim(
            f"Traffic stayed as calibrated: no bound withdrawn among {record.size} entries",
            (Citation(record.created.index),),
        )


def _outcomes(record: ModelHistory) -> Iterator[DossierClaim]:
    """How good the version stayed, by what was reported of its answers."""
    rules = record.policy.outcomes.of(record.model) if record.policy.outcomes else None
    for alias, limits in sorted(rules.aliases.items() if rules else ()):
        yield DossierClaim(
            f"Beyond limits to the outcomes of {alias}, over {limits.window_seconds} s and at "
            f"least {limits.minimum_outcomes} outcomes: {limits.action}",
            (record.policy_citation,),
        )
    reports = record.attached_of(EvidenceRules.OUTCOME_REPORT)
    for said in reports:
        for figures in _figures(said.statement.body):
            by = f"{said.statement.maker}, {said.statement.created}"
            yield DossierClaim(f"Outcomes that {by} attests: {figures}", (said.citation,))
    if not reports:
        yield not_covered("true outcomes, for nobody attached a report of them")


def _figures(body: Mapping[str, Any]) -> list[str]:
    """A report's figures for each promotion; nothing where it is not of the form that we make."""
    try:
        return [
            f"{int(series['figures']['outcomes'])} of {series['alias'] or 'the version'}, "
            f"{100 * float(series['figures']['accuracy']):.1f} % right"
            for series in body["series"]
        ]
    except (KeyError, TypeError, ValueError):
        return []


def records(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """Where decisions are recorded, and how far that record is anchored."""
    for entry in record.anchors:
        origin = entry.subject.removeprefix("logs/")
        yield DossierClaim(
            f"Answer log {origin}: {entry.body['size']} decisions anchored at {entry.time}",
            (Citation(entry.index),),
        )
    if not record.anchors:
        yield not_covered("decisions so far, for no answer log is anchored yet")


def access(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """The access rights in the policy."""
    policy, cited = record.policy, (record.policy_citation,)
    roles: dict[str, list[str]] = {}
    for person in policy.principals:
        for role in person.roles:
            roles.setdefault(role, []).append(person.name)
    for role, names in sorted(roles.items()):
        yield DossierClaim(f"Role {role}: {', '.join(names)}", cited)
    rights = len(policy.rights) if policy.rights is not None else 0
    limited = f"{rights} rights limit models and aliases" if rights else "no section rights: roles"
    yield DossierClaim(
        f"Version {policy.version} of the policy, until {policy.expires}; {limited}", cited
    )


TOPICS: Mapping[str, Topic] = {
    "inventory": inventory,
    "versions": versions,
    "model_card": model_card,
    "intended_use": intended_use,
    "data": data,
    "development": development,
    "evaluation": evaluation,
    "screening": screening,
    "red_team": red_team,
    "watermark": watermark,
    "supply_chain": supply_chain,
    "approvals": approvals,
    "changes": changes,
    "incidents": incidents,
    "oversight": oversight,
    "monitoring": monitoring,
    "records": records,
    "access": access,
}
