"""Pages about proposals and versions: what a proposal changes, and a version's files and evidence.

Proposals are listed by state, with what people signed about them and what came of a promotion.
Versions are shown beside the one in production.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from anyio import sleep
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from console.display.comparison import brief, compared_charts, differences
from console.display.evidence import ShownEvidence, Table, show
from console.pages.reach import reach_of
from console.reading.gateway import PersonCalls
from console.reading.proposals import ShownProposal, proposal_of, read_proposal, waiting
from console.reading.versions import (
    ShownVersion,
    health,
    health_word,
    newest_pointer,
    newest_pointers,
    read_version,
)
from console.views import View
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import check_digest
from sealgate.trust.fields import check_name
from sealgate.trust.policy import DEFAULT_ALIAS
from sealgate.v1 import registry_pb2 as messages

STATES = ("open", "rejected", "withdrawn", "moved")
_SHOWN = 25
_PAUSE = 0.05
_MOST_LOOKS = 1200
"""Looks of one stream; the browser then asks for another."""


def proposals(view: View) -> Response:
    """Those of a state, of one model or of all, oldest first as the registry lists them."""
    model, state = view.query("model"), view.query("state")
    if state not in STATES:
        state = STATES[0]
    request = messages.ListProposalsRequest(
        model=check_name(model) if model else "",
        page_size=_SHOWN,
        page_token=view.query("page"),
        filter=f"state = {state}",
    )
    page = view.calls.ask(view.calls.registry.ListProposals, request)
    return view.render(
        "proposals.html",
        proposals=[read_proposal(message, view.calls.policies) for message in page.proposals],
        next_page=page.next_page_token,
        states=STATES,
        state=state,
        model=model,
    )


def proposal(view: View) -> Response:
    calls = view.calls
    shown = proposal_of(calls, check_digest(view.path("digest")))
    named = shown.proposal
    pointers = newest_pointers(calls, [named.model])
    pointer = pointers.get((named.model, named.alias))
    return view.render(
        "proposal.html",
        shown=shown,
        pointer=pointer,
        **_beside(calls, named.model, named.version, pointers.get((named.model, DEFAULT_ALIAS))),
        reach=reach_of(calls, named, pointers),
        outdated=shown.state == "open" and named.policy != calls.policy.digest,
        waits=shown.state == "open" and _waits(calls, shown),
    )


def _waits(calls: PersonCalls, shown: ShownProposal) -> bool:
    """Whether the proposal waits for the reader."""
    return any(each.digest == shown.digest for each in waiting(calls, shown.proposal.model))


def _state(view: View) -> tuple[messages.Pointer, str]:
    """Where the alias points, and whether this gateway has loaded it."""
    model, alias = check_name(view.path("model")), check_name(view.path("alias"))
    pointer = newest_pointer(view.calls, model, alias)
    if pointer is None:
        raise SealgateError(Reason.ALIAS_UNKNOWN, f"{model}/{alias}")
    return pointer, health_word(health(view.calls), model, pointer)


def _words(pointer: messages.Pointer, state: str) -> dict[str, str]:
    """The page's words: the state, how it is meant, and a sentence."""
    version = f"Version {pointer.version}"
    if state == "ready":
        return {"word": "live", "kind": "good", "text": f"{version} answers now."}
    if state:
        return {"word": state, "kind": "bad", "text": f"{version} is not loaded."}
    return {"word": "loading", "kind": "warn", "text": f"{version} is being verified and loaded."}


def live(view: View) -> Response:
    """The state now; the page's script follows it until the version answers."""
    pointer, state = _state(view)
    return view.render(
        "live.html",
        model=view.path("model"),
        alias=view.path("alias"),
        pointer=pointer,
        words=_words(pointer, state),
        ready=state == "ready",
    )


def events(view: View) -> Response:
    """The states as server-sent events, each when it begins; ends once the version answers."""
    first = _state(view)

    async def told() -> AsyncIterator[str]:
        said, found = "", first
        for _ in range(_MOST_LOOKS):
            text = json.dumps(_words(*found))
            if text != said:
                said = text
                yield f"data: {text}\n\n"
            if found[1] == "ready":
                yield "event: end\ndata: \n\n"
                return
            await sleep(_PAUSE)
            try:
                found = await run_in_threadpool(_state, view)
            except SealgateError:
                # The page asks again by itself, and is told why.
                return

    return StreamingResponse(told(), media_type="text/event-stream")


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file of two versions: `change` is `same`, `changed`, `new` or `gone`."""

    path: str
    size: int
    digest: str
    change: str


def version(view: View) -> Response:
    model, number = check_name(view.path("model")), int(view.path("number"))
    pointer = newest_pointers(view.calls, [model]).get((model, DEFAULT_ALIAS))
    return view.render(
        "version.html",
        model=model,
        in_production=pointer is not None and pointer.version == number,
        **_beside(view.calls, model, number, pointer),
    )


def _beside(
    calls: PersonCalls, model: str, number: int, pointer: messages.Pointer | None
) -> dict[str, Any]:
    """A version beside the one in production, which `pointer` names, if that is another."""
    version, live = read_version(calls, model, number), None
    if pointer is not None and pointer.version != number:
        live = read_version(calls, model, pointer.version)
    return {
        "version": version,
        "live": live,
        "files": _file_changes(version, live),
        "evidence": _shown_evidence(version),
        "brief": brief(version.evidence, live.evidence if live else None),
        "compared": _compared(version, live),
        "plots": _plots(version, live),
    }


def _shown_evidence(version: ShownVersion) -> list[ShownEvidence]:
    """The evidence, what people look at first before the rest."""
    first = ("screening-report", "golden-run", "watermark-check", "mlbom")
    order = sorted(
        version.evidence,
        key=lambda item: first.index(item.kind) if item.kind in first else len(first),
    )
    return [*(show(item) for item in order), *(show(item, later=True) for item in version.attached)]


def _compared(version: ShownVersion, live: ShownVersion | None) -> list[Table]:
    """For each kind of evidence that both have, in what they differ."""
    if live is None:
        return []
    pairs = [(item, live.of(item.kind)) for item in version.evidence]
    tables = [differences(ours, theirs) for ours, theirs in pairs if theirs is not None]
    return [table for table in tables if table is not None]


def _plots(version: ShownVersion, live: ShownVersion | None) -> list[str]:
    """The evidence of both versions in the same plots."""
    if live is None:
        return []
    pairs = [(item, live.of(item.kind)) for item in version.evidence]
    return [
        chart
        for ours, theirs in pairs
        if theirs is not None
        for chart in compared_charts(ours, theirs)
    ]


def _file_changes(version: ShownVersion, live: ShownVersion | None) -> list[FileChange]:
    """The files of the version, beside those of the one in production, if that is another."""
    before = {entry.path: entry for entry in live.manifest.files} if live else {}
    changes = []
    for entry in version.manifest.files:
        old = before.pop(entry.path, None)
        change = "new" if old is None else "same" if old.digest == entry.digest else "changed"
        changes.append(FileChange(entry.path, entry.size, entry.digest, change if live else ""))
    gone = [FileChange(entry.path, entry.size, entry.digest, "gone") for entry in before.values()]
    return changes + gone


ROUTES = [
    ("/proposals", proposals, ("GET",)),
    ("/proposals/{digest}", proposal, ("GET",)),
    ("/models/{model}/aliases/{alias}/live", live, ("GET",)),
    ("/models/{model}/aliases/{alias}/live/events", events, ("GET",)),
    ("/models/{model}/versions/{number:number}", version, ("GET",)),
]
