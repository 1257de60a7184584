"""Proposals: a list by state, what one changes and was said of it, what came of a promotion."""

import json
from collections.abc import AsyncIterator

from anyio import sleep
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from console.pages.reach import reach_of
from console.pages.versions import compared, file_changes, plots, shown_evidence
from console.reading.gateway import PersonCalls
from console.reading.proposals import ShownProposal, proposal_of, read_proposal, waiting
from console.reading.versions import (
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
from sealgate.v1 import registry_pb2 as messages

STATES = ("open", "rejected", "withdrawn", "moved")
_SHOWN = 25
_PAUSE = 0.05
_MOST_LOOKS = 1200
"""Looks of one stream; the browser then asks for another."""


def proposals(view: View) -> Response:
    """Those of a state, of one model or of all, oldest first as the registry lists them."""
    model, state = view.query("model"), view.query("state") or STATES[0]
    request = messages.ListProposalsRequest(
        model=check_name(model) if model else "",
        page_size=_SHOWN,
        page_token=view.query("page"),
        filter=f"state = {state}" if state in STATES else "",
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
    version = read_version(calls, named.model, named.version)
    live = None
    if pointer is not None and pointer.version != named.version:
        live = read_version(calls, named.model, pointer.version)
    return view.render(
        "proposal.html",
        shown=shown,
        pointer=pointer,
        version=version,
        live=live,
        files=file_changes(version, live),
        evidence=shown_evidence(version),
        compared=compared(version, live),
        plots=plots(version, live),
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
    """What the page says: a word, how it is meant, and a sentence."""
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


ROUTES = [
    ("/proposals", proposals, ("GET",)),
    ("/proposals/{digest}", proposal, ("GET",)),
    ("/models/{model}/aliases/{alias}/live", live, ("GET",)),
    ("/models/{model}/aliases/{alias}/live/events", events, ("GET",)),
]
