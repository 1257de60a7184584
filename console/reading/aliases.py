"""Where aliases point, and whether this gateway has loaded it."""

from collections.abc import Mapping
from datetime import datetime

from console.reading.gateway import PersonCalls
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Policy
from sealgate.trust.statements import PointerBundle, review_end
from sealgate.v1 import registry_pb2 as messages

Place = tuple[str, str]
"""A model and an alias."""
ALIASES = ("production", "canary", "shadow")
Pointers = Mapping[tuple[str, str], messages.Pointer | None]
"""By model and alias."""


def newest_pointers(calls: PersonCalls, places: set[tuple[str, str]]) -> Pointers:
    """The newest pointer of each alias of a model; None where it has never pointed."""
    order = sorted(places)
    requests = [
        messages.GetPointerRequest(name=f"models/{model}/aliases/{alias}") for model, alias in order
    ]
    answers = calls.ask_all(calls.registry.GetPointer, requests, Reason.ALIAS_UNKNOWN)
    return {
        place: answer.pointer if answer is not None else None
        for place, answer in zip(order, answers, strict=True)
    }


def health(calls: PersonCalls) -> dict[tuple[str, str], str]:
    """`ready`, or why not, of each version that this gateway should have loaded."""
    try:
        found = calls.ask(calls.inference.RepositoryIndex, oip.RepositoryIndexRequest())
    except SealgateError as refusal:
        if refusal.reason is Reason.RIGHT_MISSING:
            return {}
        raise
    return {
        (item.name, item.version): "ready" if item.state == "READY" else item.reason
        for item in found.models
    }


def health_word(
    loaded: dict[tuple[str, str], str], model: str, pointer: messages.Pointer | None
) -> str:
    """`ready`, or why not, of what an alias points at; empty where that is not known."""
    return "" if pointer is None else loaded.get((model, str(pointer.version)), "")


def review_ends(
    pointers: Mapping[Place, messages.Pointer | None], policy: Policy
) -> dict[Place, datetime]:
    """Until when the approvals of each alias's version count, where the policy says for how long.

    Raises SealgateError(DOCUMENT_MALFORMED).
    """
    bundles = {place: each.bundle for place, each in sorted(pointers.items()) if each is not None}
    ends = {place: review_end(PointerBundle.decode(b), policy) for place, b in bundles.items()}
    return {place: end for place, end in ends.items() if end is not None}
