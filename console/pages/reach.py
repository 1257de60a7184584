"""The blast radius: whom a proposal reaches, and the dependents of a version."""

from dataclasses import dataclass
from itertools import islice

from starlette.responses import Response

from console.display.formats import done
from console.reading.gateway import PersonCalls
from console.reading.proposals import read_proposal
from console.reading.versions import ALIASES, Pointers, ShownVersion, read_version
from console.views import View
from sealgate.audit import AnswerLogHistory, Auditor, AuditReader
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name
from sealgate.trust.policy import DEFAULT_ALIAS, decide_rights
from sealgate.trust.statements import Pointer, PointerBundle, Proposal, open_under
from sealgate.trust.transparency import origin_of
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.log_pb2 import StreamEntriesRequest

_SHOWN = 100
LOOKED_BACK = 1024
"""Entries of the registry's log that are looked through for anchors."""
_MOVERS = ("admin", "rollback")
ANSWERS = 25
"""Answers on one page."""
WINDOW = 16_384
"""Entries of an answer log that are looked through for one page."""


@dataclass(frozen=True, slots=True)
class AliasReach:
    """The callers that a move of an alias reaches.

    `callers` may ask the model through the alias. `answered` is how many requests this gateway has
    answered with what the alias names now, since `since` (seconds of 1970); 0 where it names
    nothing. `aliases` name the proposed version already.
    """

    callers: tuple[str, ...]
    answered: int
    since: float
    aliases: tuple[str, ...]


def reach_of(calls: PersonCalls, proposal: Proposal, pointers: Pointers) -> AliasReach:
    """The callers that a proposal reaches once it is promoted. `pointers` are the newest of the
    model.
    """
    policy = calls.policy
    # Requests come to production; a share of them goes to a canary, a copy to a shadow.
    target = policy.target("infer", proposal.model, DEFAULT_ALIAS)
    callers = tuple(
        known.name
        for known in policy.principals
        if decide_rights(policy.rights, known.name, known.roles, target).allowed
    )
    live = pointers.get((proposal.model, DEFAULT_ALIAS))
    answered, since = _asked(calls, proposal.model, str(live.version)) if live else (0, 0.0)
    aliases = tuple(
        alias
        for alias in ALIASES
        if (pointer := pointers.get((proposal.model, alias)))
        and pointer.version == proposal.version
    )
    return AliasReach(callers, answered, since, aliases)


def _asked(calls: PersonCalls, model: str, version: str) -> tuple[int, float]:
    request = oip.ModelStatisticsRequest(name=model, version=version)
    try:
        found = calls.ask(calls.inference.ModelStatistics, request).model_stats
    except SealgateError:
        # It is not loaded, or the reader may not know.
        return 0, 0.0
    samples = found[0].history
    return found[0].inference_stats.success.count, samples[0].time / 1e3 if samples else 0.0


@dataclass(frozen=True, slots=True)
class AnswerPage:
    """Answers of the log `origin` that a version gave: their entries, found among those from
    `start` up to `end`; `next` is where to look on, or 0 at the log's end.
    """

    origin: str
    indices: list[int]
    start: int
    end: int
    next: int


@dataclass(frozen=True, slots=True)
class Dependent:
    """A signed document that names a version: what it is, its page, who signed it and when."""

    kind: str
    what: str
    link: str
    who: str
    time: str


def reach(view: View) -> Response:
    """The documents that name a version, and for auditors its first answers."""
    calls, (model, number) = view.calls, _named(view)
    version = read_version(calls, model, number)
    pages: list[AnswerPage] = []
    if "auditor" in calls.person.roles:
        reader = AuditReader(calls.channel, calls.policy, view.console.clock, calls.policies)
        begins = answers_before(calls, version.message.watermark_entry)
        pages = [
            _answers(reader, origin, model, version.manifest.digest, begins.get(origin, 0))
            for origin in _origins(calls)
        ]
    found = _dependents(calls, version, model)
    return view.render(
        "reach.html",
        model=model,
        number=number,
        revoked=version.message.revocation_reason,
        found=sorted(found, key=lambda each: each.time),
        more=len(found) >= _SHOWN,
        pages=pages,
    )


def _dependents(calls: PersonCalls, version: ShownVersion, model: str) -> list[Dependent]:
    """Proposals with what was said of them, moves, and later evidence, by the registry's index."""
    named = f"version = {version.number}"
    found = [
        Dependent("later evidence", item.kind, "", item.maker, item.created)
        for item in version.attached
    ]
    proposed = messages.ListProposalsRequest(model=model, filter=named, page_size=_SHOWN)
    for message in calls.ask(calls.registry.ListProposals, proposed).proposals:
        shown = read_proposal(message, calls.policies)
        link, about = f"/proposals/{shown.digest}", f"for {shown.proposal.alias}"
        found.append(
            Dependent("proposal", about, link, shown.proposal.proposer, shown.proposal.created)
        )
        found += [Dependent(said.what, about, link, said.who, said.time) for said in shown.remarks]
    moved = messages.ListPointersRequest(
        name=f"models/{model}/aliases/-", filter=named, page_size=_SHOWN
    )
    for message in calls.recall("ListPointers", moved).pointers:
        envelope = PointerBundle.decode(message.bundle).pointer
        move = open_under(envelope, Pointer, calls.policies, _MOVERS)
        what = f"{move.alias}, move {move.sequence}"
        link = f"/models/{model}/aliases/{move.alias}"
        found.append(Dependent(done(move.action), what, link, move.admin, move.time))
    return found


def answers_before(calls: PersonCalls, entry: int) -> dict[str, int]:
    """How far each answer log had come before the registry's entry `entry`, by an anchor among the
    entries before it. A log without one there is looked through from its beginning.
    """
    start = max(0, entry - LOOKED_BACK)
    told = AnswerLogHistory()
    if start < entry:
        origin = origin_of(calls.policy.registry_log)
        request = StreamEntriesRequest(origin=origin, start=start, end=entry)
        leaves = (leaf for part in calls.logs.StreamEntries(request) for leaf in part.leaves)
        for index, leaf in enumerate(leaves, start):
            told.visit(index, leaf)
    return {origin: anchors[-1].size for origin, anchors in told.anchors.items()}


def answers(view: View) -> Response:
    """More of a version's answers in one log."""
    calls, (model, number) = view.calls, _named(view)
    origin, text = view.query("log"), view.query("from")
    if origin not in _origins(calls):
        raise SealgateError(Reason.LOG_UNKNOWN, origin)
    start = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
    digest = read_version(calls, model, number).manifest.digest
    reader = AuditReader(calls.channel, calls.policy, view.console.clock, calls.policies)
    page = _answers(reader, origin, model, digest, start)
    return view.render("version_answers.html", model=model, number=number, pages=[page])


def _named(view: View) -> tuple[str, int]:
    return check_name(view.path("model")), int(view.path("number"))


def _origins(calls: PersonCalls) -> list[str]:
    return Auditor(calls.channel, calls.policy).answer_logs()


def _answers(reader: AuditReader, origin: str, model: str, digest: str, start: int) -> AnswerPage:
    """By the index of the model's entries, of which one page looks at so many at most."""
    size = reader.size(origin)
    start = min(start, size)
    end = min(size, start + WINDOW)
    where = {"model": model, "version_digest": digest}
    # A gateway of an earlier release may show others; and what is erased is not shown.
    fits = (
        entry.index
        for entry in reader.openings(origin, start, end, where=where)
        if entry.fields and entry.fields["version_digest"] == digest
    )
    found = list(islice(fits, ANSWERS + 1))
    following = found[ANSWERS] if len(found) > ANSWERS else end
    return AnswerPage(
        origin, found[:ANSWERS], start, following, following if following < size else 0
    )


ROUTES = [
    ("/models/{model}/versions/{number:number}/reach", reach, ("GET",)),
    ("/models/{model}/versions/{number:number}/answers", answers, ("GET",)),
]
