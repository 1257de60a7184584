"""The chain of signed policies that a command reads, checked against a person's root keys."""

from datetime import UTC, datetime
from pathlib import Path

import click
import grpc

from sealgate import signed_version
from sealgate.cli.people import state_folder
from sealgate.reasons import Reason, Refusal
from sealgate.remote import Profile
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, open_policy_chain, open_policy_history
from sealgate.v1.registry_pb2 import GetPolicyRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

policy_option = click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The chain of signed policies, first to newest; default: STATE/trust/policy.json and what "
    "`sealgate policy fetch` put beside it.",
)


def read_chain(ctx: click.Context, policies: tuple[Path, ...]) -> list[Envelope]:
    """The envelopes that `--policy` names, or the installation's own."""
    if policies:
        return [Envelope.decode(path.read_bytes()) for path in policies]
    chain = [Envelope.decode(_kept(ctx).read_bytes())]
    version = Policy.decode(chain[0].payload).version
    while (path := _kept(ctx, version := version + 1)).exists():
        chain.append(Envelope.decode(path.read_bytes()))
    return chain


def fetch_chain(ctx: click.Context, person: Profile, channel: grpc.Channel) -> list[Envelope]:
    """The gateway's chain, kept in STATE/trust once the person's pinned root keys vouch for it.

    Its newest policy may have expired. Raises Refusal(POLICY_ROLLED_BACK) where it is not the
    continuation of the chain that was kept before.
    """
    found = RegistryServiceStub(channel).GetPolicy(GetPolicyRequest()).envelopes
    chain = [Envelope.decode(data) for data in found]
    history = open_policy_history(chain, person.pinned_roots(), person.root_threshold)
    known = [e.payload for e in read_chain(ctx, ())] if _kept(ctx).exists() else []
    if [envelope.payload for envelope in chain[: len(known)]] != known:
        raise Refusal(Reason.POLICY_ROLLED_BACK, "the gateway's chain is not the one kept here")
    for number, (policy, data) in enumerate(zip(history, found, strict=True)):
        if number >= len(known):
            path = _kept(ctx, policy.version if number else 0)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(data)
    return chain


def policy_history(person: Profile, channel: grpc.Channel) -> tuple[Policy, ...]:
    """Every policy of the gateway's chain, oldest first, as `signed_version.policy_history`."""
    stub = RegistryServiceStub(channel)
    return signed_version.policy_history(stub, person.pinned_roots(), person.root_threshold)


def newest(chain: list[Envelope], person: Profile) -> Policy:
    """The newest policy of a chain that the pinned root keys vouch for, expired or not."""
    return open_policy_history(chain, person.pinned_roots(), person.root_threshold)[-1]


def _kept(ctx: click.Context, version: int = 0) -> Path:
    """Where a policy is kept; 0 stands for the first."""
    name = f"policy-{version}.json" if version else "policy.json"
    return state_folder(ctx) / "trust" / name


def open_chain(chain: list[Envelope], person: Profile) -> Policy:
    """The newest policy of a chain that the person's pinned root keys vouch for."""
    return open_policy_chain(chain, person.pinned_roots(), person.root_threshold, datetime.now(UTC))
