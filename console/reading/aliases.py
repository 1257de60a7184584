"""Where aliases point, and whether this gateway has loaded it."""

from collections.abc import Collection, Mapping
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
Pointers = Mapping[Place, messages.Pointer]
"""The newest pointer of each alias that has ever pointed at a version."""
_MOST_ALIASES = 200


def newest_pointer(calls: PersonCalls, model: str, alias: str) -> messages.Pointer | None:
    """The newest pointer of an alias; None where it has never pointed at a version."""
    request = messages.GetPointerRequest(name=f"models/{model}/aliases/{alias}")
    answers = calls.ask_all(calls.registry.GetPointer, [request], Reason.ALIAS_UNKNOWN)
    return None if answers[0] is None else answers[0].pointer


def newest_pointers(calls: PersonCalls, models: Collection[str]) -> Pointers:
    """The newest pointers of all aliases of these models."""
    requests = [
        messages.ListPointersRequest(
            name=f"models/{model}/aliases/-", filter="newest:*", page_size=_MOST_ALIASES
        )
        for model in models
    ]
    answers = calls.recall_all("ListPointers", requests)
    return {
        (model, alias_of(pointer)): pointer
        for model, answer in zip(models, answers, strict=True)
        for pointer in answer.pointers
    }


def alias_of(pointer: messages.Pointer) -> str:
    return pointer.name.rpartition("/")[2]


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


def review_ends(pointers: Pointers, policy: Policy) -> dict[Place, datetime]:
    """Until when the approvals of each alias's version count, where the policy says for how long.

    Raises SealgateError(DOCUMENT_MALFORMED).
    """
    ends = {
        place: review_end(PointerBundle.decode(pointers[place].bundle), policy)
        for place in sorted(pointers)
    }
    return {place: end for place, end in ends.items() if end is not None}
