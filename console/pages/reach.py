"""The blast radius: whom a proposal reaches, and everything that rests on a version."""

from dataclasses import dataclass
from itertools import islice

from starlette.responses import Response

from console.reading.aliases import ALIASES, newest_pointers
from console.reading.gateway import PersonCalls
from console.views import View
from sealgate.audit import Auditor
from sealgate.audit.blast_radius import BlastRadius, of_version
from sealgate.audit.reader import AuditReader
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import SealgateError
from sealgate.trust.fields import check_name
from sealgate.trust.policy import DEFAULT_ALIAS
from sealgate.trust.policy.rights import decide
from sealgate.trust.statements import Proposal

_SHOWN = 200
_ANSWERS = 25


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom a move of an alias reaches.

    `callers` may ask the model through the alias. `answered` is how many requests this gateway has
    answered with what the alias names now, since `since` (seconds of 1970); 0 where it names
    nothing. `aliases` name the proposed version already.
    """

    callers: tuple[str, ...]
    answered: int
    since: float
    aliases: tuple[str, ...]


def reach_of(calls: PersonCalls, proposal: Proposal) -> Reach:
    """Whom a proposal reaches once it is promoted."""
    policy = calls.policy
    # Requests come to production; a share of them goes to a canary, a copy to a shadow.
    target = policy.target("infer", proposal.model, DEFAULT_ALIAS)
    callers = tuple(
        known.name
        for known in policy.principals
        if decide(policy.rights, known.name, known.roles, target).allowed
    )
    pointers = newest_pointers(calls, {(proposal.model, alias) for alias in ALIASES})
    live = pointers[proposal.model, DEFAULT_ALIAS]
    answered, since = _asked(calls, proposal.model, str(live.version)) if live else (0, 0.0)
    aliases = tuple(
        alias
        for alias in ALIASES
        if (pointer := pointers[proposal.model, alias]) and pointer.version == proposal.version
    )
    return Reach(callers, answered, since, aliases)


def _asked(calls: PersonCalls, model: str, version: str) -> tuple[int, float]:
    request = oip.ModelStatisticsRequest(name=model, version=version)
    try:
        found = calls.ask(calls.inference.ModelStatistics, request).model_stats
    except SealgateError:
        # It is not loaded, or the reader may not know.
        return 0, 0.0
    samples = found[0].history
    return found[0].inference_stats.success.count, samples[0].time / 1e3 if samples else 0.0


def reach(view: View) -> Response:
    """Every document that rests on a version, by the whole registry's log, and its answers."""
    calls = view.calls
    model, number = check_name(view.path("model")), int(view.path("number"))
    reader = AuditReader(calls.channel, calls.policy, view.console.clock, calls.policies)
    found = of_version(f"{model}/{number}", reader.records())
    return view.render(
        "reach.html",
        model=model,
        number=number,
        found=found.found[:_SHOWN],
        more=max(0, len(found.found) - _SHOWN),
        logs=[(origin, *_answers(reader, origin, found)) for origin in _origins(calls)],
        shown=_ANSWERS,
    )


def _origins(calls: PersonCalls) -> list[str]:
    policy = calls.policy
    return [o for o in Auditor(calls.channel, policy).origins() if policy.is_answer_log(o)]


def _answers(reader: AuditReader, origin: str, reach: BlastRadius) -> tuple[list[int], bool]:
    """The first answers of a log that rest on it, and whether there are more."""
    size = reader.size(origin)
    indices: list[int] = []
    for values in reach.searches(origin):
        entries = reader.openings(origin, 0, size, values)
        touched = (e.index for e in entries if e.fields and reach.touches(origin, e.fields))
        indices += islice(touched, _ANSWERS + 1)
    ordered = sorted(set(indices))
    return ordered[:_ANSWERS], len(ordered) > _ANSWERS


ROUTES = [("/models/{model}/versions/{number:int}/reach", reach, ("GET",))]
