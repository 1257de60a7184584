"""The model inventory: which models there are, how risky, whose, what is live, and until when the
approvals of that count.

Every pointer is verified here, from the policy on; who created a model is the registry's word.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import grpc

from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import list_all
from sealgate.remote.errors import refusal_of
from sealgate.trust.policy import Policy
from sealgate.trust.statements import PointerBundle, review_end, verify_pointer
from sealgate.trust.times import REVIEW_BEFORE
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

NONE_LIVE, NO_END, CURRENT, DUE, OVERDUE = "nothing live", "no end", "current", "due", "overdue"


@dataclass(frozen=True, slots=True)
class InventoryItem:
    """An alias of a model that points at a version, or a model of which none does (`alias` and what
    follows are empty).

    `tier` is the policy's risk tier, `owner` its owner or else who created the model. `review_end`
    is until when the approvals count, None without end; `review` says what that means now.
    """

    model: str
    tier: str
    owner: str
    alias: str = ""
    version: int = 0
    since: str = ""
    review_end: datetime | None = None
    review: str = NONE_LIVE


def inventory(
    registry: RegistryServiceStub, policies: Sequence[Policy], now: datetime
) -> Iterator[InventoryItem]:
    """Every model and alias, by name. `policies` is the chain, oldest first.

    Raises SealgateError as `verify_pointer` does, and grpc.RpcError.
    """
    policy = policies[-1]
    for model in list_all(registry.ListModels, messages.ListModelsRequest(), "models"):
        name = model.name.partition("/")[2]
        tier = policy.risk.tier(name) if policy.risk else ""
        about = name, tier, policy.owner(name) or model.creator
        live = [
            _item(about, alias, pointer, registry, policies, now)
            for alias in sorted(policy.rules.approvals)
            if (pointer := _pointer(registry, name, alias)) is not None
        ]
        yield from live or [InventoryItem(*about)]


def review_state(end: datetime | None, now: datetime) -> str:
    """What it means that approvals count until `end`."""
    if end is None:
        return NO_END
    if now > end:
        return OVERDUE
    return DUE if end - now < REVIEW_BEFORE else CURRENT


def _item(
    about: tuple[str, str, str],
    alias: str,
    pointer: messages.Pointer,
    registry: RegistryServiceStub,
    policies: Sequence[Policy],
    now: datetime,
) -> InventoryItem:
    name = f"models/{about[0]}/versions/{pointer.version}"
    publisher = registry.GetVersion(messages.GetVersionRequest(name=name)).version.publisher
    chain = {policy.digest: policy for policy in policies}
    bundle = PointerBundle.decode(pointer.bundle)
    verified = verify_pointer(bundle, chain, policies[-1], publisher, now)
    if (verified.model, verified.alias) != (about[0], alias):
        raise SealgateError(Reason.POINTER_INVALID, f"another alias's pointer for {alias}")
    end = review_end(bundle, policies[-1])
    return InventoryItem(
        *about,
        alias=alias,
        version=verified.version,
        since=verified.time,
        review_end=end,
        review=review_state(end, now),
    )


def _pointer(registry: RegistryServiceStub, model: str, alias: str) -> messages.Pointer | None:
    request = messages.GetPointerRequest(name=f"models/{model}/aliases/{alias}")
    try:
        return registry.GetPointer(request).pointer
    except grpc.RpcError as error:
        if refusal_of(error).reason is Reason.ALIAS_UNKNOWN:
            return None
        raise
