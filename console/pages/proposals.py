"""Proposals: those of the last month, and one with what it changes and who approved it."""

from starlette.responses import Response

from console.pages.versions import compared, file_changes, read_version, shown_evidence
from console.proposals import newest_pointers, read_proposal, recent
from console.views import View
from sealgate.trust.canonical import check_digest
from sealgate.trust.dsse import Envelope
from sealgate.trust.fields import check_name
from sealgate.trust.statements import Proposal
from sealgate.v1 import registry_pb2 as messages

_SHOWN = 25
_MOST_MODELS = 200


def proposals(view: View) -> Response:
    model = view.query("model")
    models = [check_name(model)] if model else _models(view)
    found = recent(view.calls, view.now, models)
    start = int(view.query("from")) if view.query("from").isdigit() else 0
    return view.render(
        "proposals.html",
        proposals=found[start : start + _SHOWN],
        total=len(found),
        start=start,
        later=start + _SHOWN if start + _SHOWN < len(found) else 0,
        model=model,
    )


def _models(view: View) -> list[str]:
    request = messages.ListModelsRequest(page_size=_MOST_MODELS)
    found = view.calls.ask(view.calls.registry.ListModels, request).models
    return [model.name.partition("/")[2] for model in found]


def proposal(view: View) -> Response:
    calls = view.calls
    request = messages.GetProposalRequest(digest=check_digest(view.path("digest")))
    message = calls.ask(calls.registry.GetProposal, request).proposal
    named = Proposal.decode(Envelope.decode(message.envelope).payload)
    place = named.model, named.alias
    pointer = newest_pointers(calls, {place})[place]
    shown = read_proposal(message, calls.policies, view.now, pointer)
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
        waits=shown.waits_for(calls.person),
    )


ROUTES = [
    ("/proposals", proposals, ("GET",)),
    ("/proposals/{digest}", proposal, ("GET",)),
]
