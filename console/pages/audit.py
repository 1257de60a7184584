"""The audit pages: find decisions, follow them, take receipts and packs, verify the logs.

Each look at entries is itself recorded in the gateway's answer log, in the reader's name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby, islice

from starlette.responses import FileResponse, Response

from console.reading.jobs import PackRequest
from console.views import View
from sealgate.audit import HOLDS, Auditor, AuditReader, DecisionStep, Examination, OpenedEntry
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.v1 import audit_pb2 as messages
from sealgate.v1.log_pb2 import OpenEntryRequest
from sealgate.v1.registry_pb2 import ListModelsRequest

FIELDS = ("principal", "day", "model", "outcome", "request_id", "subject")
"""The fields that decisions can be found by; the gateway's index has each of them."""
_SHOWN = 25
_ROLE = "auditor"
_OFFERED = 200
_OUTCOMES = ("answered", "reduced", "read")
_REFUSALS = (
    Reason.ADVERSARIAL_INPUT,
    Reason.PROMPT_INJECTION,
    Reason.ANSWER_WITHHELD,
    Reason.SESSION_BLOCKED,
    Reason.STEP_UP,
    Reason.RIGHT_MISSING,
    Reason.ROLE_TOO_LOW,
    Reason.QUEUE_FULL,
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Entries of a log that were found, and where the search goes on; 0 at its end."""

    entries: list[OpenedEntry]
    next: int


def audit(view: View) -> Response:
    """The search form and, with anything filled in, what it finds; otherwise the callers whose
    sessions look like an attack. Those who may not read decisions are told who may.
    """
    if _ROLE not in view.calls.person.roles:
        return view.render("audit_closed.html", 403, auditors=_auditors(view))
    wanted = {name: value for name in FIELDS if (value := view.query(name))}
    if "day" in wanted and not _DAY.fullmatch(wanted["day"]):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "a day is like 2026-11-29")
    origins = _answer_logs(view)
    origin = view.query("log") or (origins[0] if origins else "")
    found = _find(view, _known(origins, origin), wanted) if wanted and origin else None
    return view.render(
        "audit.html",
        wanted=wanted,
        origins=origins,
        origin=origin,
        found=found,
        choices=_choices(view),
        flagged=[] if wanted else flagged_sessions(view),
    )


def _auditors(view: View) -> list[str]:
    return [known.name for known in view.calls.policy.principals if _ROLE in known.roles]


def _choices(view: View) -> dict[str, list[str]]:
    """The values that the fields of the search offer; others may be typed."""
    models = view.calls.recall("ListModels", ListModelsRequest(page_size=_OFFERED)).models
    return {
        "principal": [known.name for known in view.calls.policy.principals],
        "model": [model.name.partition("/")[2] for model in models],
        "outcome": [*_OUTCOMES, *(reason.name for reason in _REFUSALS)],
    }


def flagged_sessions(view: View) -> list[messages.FlaggedSession]:
    """The callers whose requests, taken together, look like an attack, newest first."""
    request = messages.ListFlaggedSessionsRequest()
    found = view.calls.ask(view.calls.audit.ListFlaggedSessions, request).sessions
    return list(reversed(found))[:_SHOWN]


def _answer_logs(view: View) -> list[str]:
    return Auditor(view.calls.channel, view.calls.policy).answer_logs()


def _known(origins: list[str], origin: str) -> str:
    if origin not in origins:
        raise SealgateError(Reason.LOG_UNKNOWN, origin)
    return origin


def _find(view: View, origin: str, wanted: Mapping[str, str]) -> EntryPage:
    reader = _reader(view)
    text = view.query("from")
    start = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
    size = reader.size(origin)
    entries = list(islice(reader.openings(origin, start, size, where=wanted), _SHOWN + 1))
    # A gateway of an earlier release may show others; and what cannot be opened is not shown.
    fits = [entry for entry in entries[:_SHOWN] if _fits(entry, wanted)]
    return EntryPage(fits, entries[_SHOWN].index if len(entries) > _SHOWN else 0)


def _fits(entry: OpenedEntry, wanted: Mapping[str, str]) -> bool:
    if entry.fields is None:
        return False
    values = dict(entry.fields)
    values["day"] = values["time"][:10]
    return all(values[name] == value for name, value in wanted.items() if name in values)


def _reader(view: View) -> AuditReader:
    calls = view.calls
    return AuditReader(calls.channel, calls.policy, view.console.clock, calls.policies)


def _open(view: View) -> Receipt:
    origin = _known(_answer_logs(view), view.query("log"))
    request = OpenEntryRequest(origin=origin, index=int(view.path("index")))
    return Receipt.decode(view.calls.ask(view.calls.logs.OpenEntry, request).receipt)


def entry(view: View) -> Response:
    """One decision with every field, opened by a read that is logged."""
    receipt = _open(view)
    verified = verify_receipt(receipt, view.calls.policy)
    steps: list[DecisionStep] = []
    if view.query("chain"):
        examination = Examination(receipt, view.calls.policies, view.now)
        steps = list(examination.findings(_reader(view)))
    ordered = {name: verified.fields[name] for name in receipt.names if name in verified.fields}
    return view.render(
        "entry.html",
        index=receipt.proof.index,
        origin=verified.checkpoint.origin,
        size=verified.checkpoint.size,
        fields=ordered,
        sentence=Reason.named(ordered["outcome"]).sentence,
        steps=[(name, list(found)) for name, found in groupby(steps, lambda each: each.step)],
        holds=HOLDS,
    )


def receipt(view: View) -> Response:
    """The receipt as a file, which anybody with the root keys can check offline."""
    found = _open(view)
    name = f"receipt-{found.proof.index}.json"
    return Response(
        found.encode(),
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def verify(view: View) -> Response:
    """The check of every log, with how far it has come."""
    jobs = view.console.verifications
    if view.request.method == "POST":
        calls = view.calls
        jobs.begin(view.session.handle, Auditor(calls.channel, calls.policy, calls.policies))
    job = jobs.of(view.session.handle)
    template = "verify_state.html" if view.query("part") else "verify.html"
    return view.render(template, job=job)


def pack(view: View) -> Response:
    """The form for a pack, and how far the one of this session has come."""
    exports, calls = view.console.packs, view.calls
    if view.request.method == "POST":
        names = view.form.get("models", "").replace(",", " ").split()
        asked = PackRequest(
            policies=calls.policies,
            models=tuple(map(check_name, names)),
            with_files=view.form.get("files") == "yes",
            now=view.now,
        )
        exports.begin(view.session.handle, calls.channel, asked)
    job = exports.of(view.session.handle)
    template = "pack_state.html" if view.query("part") else "pack.html"
    return view.render(template, job=job, size=_size(view))


def _size(view: View) -> int:
    job = view.console.packs.of(view.session.handle)
    return job.file.stat().st_size if job is not None and job.pack is not None else 0


def file(view: View) -> Response:
    """The pack as a zip file."""
    job = view.console.packs.of(view.session.handle)
    if job is None or job.pack is None:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "there is no finished pack")
    return FileResponse(job.file, media_type="application/zip", filename="sealgate-pack.zip")


ROUTES = [
    ("/audit", audit, ("GET",)),
    ("/audit/entries/{index:number}", entry, ("GET",)),
    ("/audit/entries/{index:number}/receipt", receipt, ("GET",)),
    ("/audit/verify", verify, ("GET", "POST")),
    ("/audit/pack", pack, ("GET", "POST")),
    ("/audit/pack/file", file, ("GET",)),
]
