"""The blast radius: whom a proposal reaches, and everything that rests on a version."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from starlette.responses import Response

from console.reading.aliases import ALIASES, newest_pointers
from console.reading.gateway import PersonCalls
from console.reading.versions import read_version
from console.views import View
from sealgate.audit import Auditor
from sealgate.audit.answer_logs import ANCHORED
from sealgate.audit.blast_radius import of_version
from sealgate.audit.entries import ProvedEntry
from sealgate.audit.reader import AuditReader
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name
from sealgate.trust.policy import DEFAULT_ALIAS
from sealgate.trust.policy.rights import decide
from sealgate.trust.statements import Proposal

_SHOWN = 200
ANSWERS = 25
"""Answers on one page."""
WINDOW = 16_384
"""Entries of an answer log that are looked through for one page."""


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


def reach(view: View) -> Response:
    """Every document that rests on a version, by the whole registry's log, and its first
    answers.
    """
    calls, (model, number) = view.calls, _named(view)
    reader = AuditReader(calls.channel, calls.policy, view.console.clock, calls.policies)
    begins: dict[str, int] = {}
    found = of_version(f"{model}/{number}", _noting(begins, f"{model}/{number}", reader.records()))
    (digest,) = found.digests
    return view.render(
        "reach.html",
        model=model,
        number=number,
        found=found.found[:_SHOWN],
        more=max(0, len(found.found) - _SHOWN),
        pages=[_answers(reader, o, model, digest, begins.get(o, 0)) for o in _origins(calls)],
    )


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


def _noting(
    begins: dict[str, int], version: str, records: Iterable[ProvedEntry]
) -> Iterator[ProvedEntry]:
    """The records; `begins` is told how far each answer log had come before the version was
    registered, by its anchors.
    """
    subject = "models/{}/versions/{}".format(*version.split("/"))
    registered = False
    for record in records:
        registered = registered or (
            record.event == "version.registered" and record.subject == subject
        )
        if record.event == ANCHORED and not registered:
            begins[record.subject.removeprefix("logs/")] = int(record.body["size"])
        yield record


def _origins(calls: PersonCalls) -> list[str]:
    policy = calls.policy
    return [o for o in Auditor(calls.channel, policy).origins() if policy.is_answer_log(o)]


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
    ("/models/{model}/versions/{number:int}/reach", reach, ("GET",)),
    ("/models/{model}/versions/{number:int}/answers", answers, ("GET",)),
]
