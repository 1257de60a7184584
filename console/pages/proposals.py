"""Proposals: a list by state, and one with what it changes and what was said about it."""

from starlette.responses import Response

from console.pages.reach import reach_of
from console.pages.versions import compared, file_changes, plots, shown_evidence
from console.reading.aliases import newest_pointers
from console.reading.gateway import PersonCalls
from console.reading.proposals import ShownProposal, read_proposal, waiting
from console.reading.versions import read_version
from console.views import View
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import check_digest
from sealgate.trust.fields import check_name
from sealgate.v1 import registry_pb2 as messages

STATES = ("open", "rejected", "withdrawn", "moved")
_SHOWN = 25


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
    request = messages.GetProposalRequest(digest=check_digest(view.path("digest")))
    message = calls.ask(calls.registry.GetProposal, request).proposal
    if message.digest != request.digest:
        raise SealgateError(Reason.DIGEST_MISMATCH, "the registry sent another proposal")
    shown = read_proposal(message, calls.policies)
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


ROUTES = [
    ("/proposals", proposals, ("GET",)),
    ("/proposals/{digest}", proposal, ("GET",)),
]
