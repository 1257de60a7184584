"""A gateway's next policy: what is in force, with changes, signed by some of its roots."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PrivateKey, load_private_key
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time
from sealgate.v1 import policy_pb2, registry_pb2
from sealgate.v1.policy_pb2_grpc import PolicyServiceStub
from tests.support.harness.gateway import GatewayHarness

Document = dict[str, Any]


class InstalledFiles(Protocol):
    """An installation, by where its files lie."""

    state: Path


def document(harness: GatewayHarness) -> Document:
    """The successor of the policy in force, before anything is changed."""
    chain = harness.registry("admin").GetPolicy(registry_pb2.GetPolicyRequest()).envelopes
    found: Document = json.loads(Envelope.decode(chain[-1]).payload)
    return found | {"version": found["version"] + 1, "issued": format_time(datetime.now(UTC))}


def first_document(harness: InstalledFiles) -> Document:
    """The policy that the gateway was made with."""
    envelope = Envelope.decode((harness.state / "trust" / "policy.json").read_bytes())
    found: Document = json.loads(envelope.payload)
    return found


def root(harness: InstalledFiles, number: int) -> PrivateKey:
    return load_private_key(harness.state / "roots" / f"root-{number}.key")


def signed(document: Document, *keys: PrivateKey) -> bytes:
    return dsse.sign(Policy.PAYLOAD_TYPE, canonical.encode(document), *keys).encode()


def person(document: Document, name: str) -> Document:
    """The principal of that name, for a test to change."""
    found: Document = next(p for p in document["principals"] if p["name"] == name)
    return found


def send(harness: GatewayHarness, envelope: bytes, who: str = "admin") -> None:
    request = policy_pb2.AcceptPolicyRequest(envelope=envelope)
    PolicyServiceStub(harness.channel(who)).AcceptPolicy(request, timeout=60)


def follow(harness: GatewayHarness, version: int) -> float:
    """Waits until the gateway goes by that version of the policy; how long it took, in seconds."""
    began = time.monotonic()
    while harness.gateway.engine.policy_in_force().version < version:
        if time.monotonic() - began > 60:
            raise TimeoutError(f"version {version} is not in force")
        time.sleep(0.001)
    return time.monotonic() - began


def accept(harness: GatewayHarness, *keys: PrivateKey, **changes: Any) -> float:
    """Accepts the next policy with these sections changed, signed by two roots unless told."""
    changed = document(harness) | changes
    send(harness, signed(changed, *(keys or (root(harness, 1), root(harness, 2)))))
    return follow(harness, changed["version"])


def change(harness: GatewayHarness, edit: Callable[[Document], object]) -> float:
    """Accepts the next policy, as `edit` leaves it."""
    changed = document(harness)
    edit(changed)
    return accept(harness, **changed)


def list_passkeys(gateway: GatewayHarness, passkeys: Document) -> Policy:
    """Have the roots list passkeys, as JSON by key id for each person, in the next policy."""
    changed = document(gateway)
    for name, entries in passkeys.items():
        changed.setdefault("webauthn", {}).update(entries)
        person(changed, name)["keys"] += list(entries)
    roots = (root(gateway, 1), root(gateway, 2))
    send(gateway, signed(changed, *roots))
    follow(gateway, changed["version"])
    return gateway.governance("auditor").policy()
