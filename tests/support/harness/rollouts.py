"""Canary, shadow and their guard in a gateway: shares promoted, and a service that rolls back."""

import time
from collections.abc import Callable
from datetime import timedelta

from inference.engine import LiveVersion
from sealgate.trust.keys import PrivateKey, write_private_file
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.policy_changes import change

GUARD = "guard"
_LIFETIMES = iter(range(1, 1_000_000))


def await_true(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)


def share(
    harness: GatewayHarness, version: int, percent: int, alias: str = "canary"
) -> LiveVersion:
    """Give the alias the digits version, with a share of production's requests."""
    lifetime = timedelta(days=2, seconds=next(_LIFETIMES))
    proposal = harness.governance("publisher").propose("digits", version, alias, lifetime, percent)
    for approver in ("approver-1", "approver-2"):
        harness.governance(approver).approve(proposal.digest, "reviewed")
    sequence = harness.governance("admin").promote(proposal.digest, "test").sequence
    lives = harness.gateway.engine.live
    place = ("digits", alias)
    await_true(lambda: place in lives() and lives()[place].sequence == sequence)
    return lives()[place]


def with_guard(harness: GatewayHarness, **health: dict[str, dict[str, int]]) -> None:
    """Name a service that rolls back in the policy, with the limits of aliases of digits, and
    start the gateway again with its key.
    """
    key = PrivateKey.generate()
    write_private_file(harness.state / "keys" / "rollback.key", key.to_pem())
    limits = {
        alias: {"window_seconds": 600, "minimum_requests": 5, **items}
        for alias, items in health.items()
    }

    def edit(document: dict) -> None:
        document["keys"][key.public.keyid] = key.public.pem
        document["principals"].append(
            {"name": GUARD, "roles": ["rollback"], "keys": [key.public.keyid], "identities": []}
        )
        document["health"] = {"digits": limits}

    change(harness, edit)
    harness.stop()
    with (harness.state / "gateway.toml").open("a") as settings:
        settings.write('\n[rollback]\nkey = "keys/rollback.key"\n')
    harness.start()
