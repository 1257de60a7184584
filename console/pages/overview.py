"""The overview: what is live, what waits for the reader, the state of the logs, what ends soon."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import grpc
from cryptography import x509
from starlette.responses import Response

from console.pages.audit import flagged_sessions
from console.reading.proposals import ShownProposal, waiting
from console.reading.versions import (
    ALIASES,
    Pointers,
    health,
    health_word,
    is_screened,
    list_versions,
    newest_pointers,
    review_ends,
)
from console.views import View
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.errors import refusal_of
from sealgate.trust.times import parse_time
from sealgate.trust.transparency import open_checkpoint
from sealgate.v1 import log_pb2 as log_messages
from sealgate.v1 import registry_pb2 as messages

_SOON = timedelta(days=30)
_MODELS = 12


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model with its newest version, and the pointer and the health of each alias; `unscreened`
    are the versions in use that nothing screens.
    """

    name: str
    latest: int
    aliases: tuple[tuple[str, messages.Pointer | None, str], ...]
    unscreened: frozenset[int]


@dataclass(frozen=True, slots=True)
class LogState:
    """A log's size, its checkpoint's cosignatures (counted, not verified), and its first entry."""

    origin: str
    size: int
    witnesses: int
    first: int


@dataclass(frozen=True, slots=True)
class Expiry:
    """Something that expires at `time`; `soon` within a month."""

    what: str
    time: datetime
    soon: bool


def overview(view: View) -> Response:
    calls = view.calls
    request = messages.ListModelsRequest(page_size=_MODELS, page_token=view.query("page"))
    page = calls.recall("ListModels", request)
    names = [model.name.partition("/")[2] for model in page.models]
    pointers = newest_pointers(calls, names)
    loaded = health(calls)
    used = {
        name: {pointer.version for (model, _), pointer in pointers.items() if model == name}
        for name in names
    }
    listed = list_versions(calls, used)
    rows = [
        ModelRow(
            name,
            model.latest_version,
            tuple(
                (alias, pointer, health_word(loaded, name, pointer))
                for alias in ALIASES
                for pointer in [pointers.get((name, alias))]
            ),
            frozenset(
                int(version.name.rpartition("/")[2])
                for version in listed.get(name, [])
                if not is_screened(version)
            ),
        )
        for name, model in zip(names, page.models, strict=True)
    ]
    return view.render(
        "overview.html",
        models=rows,
        next_page=page.next_page_token,
        waiting=_waiting(view),
        flagged=flagged_sessions(view) if "auditor" in calls.person.roles else [],
        logs=_logs(view),
        expiries=[*_expiries(view), *_reviews(view, pointers)],
    )


def _waiting(view: View) -> list[ShownProposal]:
    """The proposals that wait for the reader; none for readers whose rights do not cover all
    models.
    """
    try:
        return waiting(view.calls)
    except (SealgateError, grpc.RpcError) as error:
        refusal = error if isinstance(error, SealgateError) else refusal_of(error)
        if refusal.reason is Reason.RIGHT_MISSING:
            return []
        raise


def _logs(view: View) -> list[LogState]:
    calls = view.calls
    origins = list(calls.ask(calls.logs.ListLogs, log_messages.ListLogsRequest()).origins)
    requests = [log_messages.GetCheckpointRequest(origin=origin) for origin in origins]
    answers = calls.ask_all(calls.logs.GetCheckpoint, requests)
    states = []
    for origin, answer in zip(origins, answers, strict=True):
        key = calls.policy.log_key(origin)
        checkpoint = open_checkpoint(answer.note, key)
        signatures = answer.note.count("\n\u2014 ")
        states.append(
            LogState(origin, checkpoint.size, signatures - len(key.split()), answer.first)
        )
    return states


def _expiries(view: View) -> list[Expiry]:
    certificate = x509.load_pem_x509_certificate(view.console.gateway.certificate)
    policy = view.calls.policy
    ends = [
        (f"Policy, version {policy.version}", parse_time(policy.expires)),
        ("The console's certificate", certificate.not_valid_after_utc),
    ]
    return [Expiry(what, time, time < view.now + _SOON) for what, time in ends]


def _reviews(view: View, pointers: Pointers) -> list[Expiry]:
    """Until when the approvals of what is live count."""
    return [
        Expiry(f"Approvals of {model}/{alias}", end, end < view.now + _SOON)
        for (model, alias), end in review_ends(pointers, view.calls.policy).items()
    ]


ROUTES = [("/", overview, ("GET",))]
