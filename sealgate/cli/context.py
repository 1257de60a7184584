"""Context of a command: the profile of `--as`, a connection to the gateway, and its policies.

Policies are read from the gateway or from files, and verified against the person's root keys.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import grpc
from click.core import ParameterSource

from sealgate import signed_version
from sealgate.cli.output import ask_secret
from sealgate.promotion.documents import Governance
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Profile, ProfileError, connect
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, open_policy_chain, open_policy_history
from sealgate.trust.transparency import origin_of
from sealgate.v1.registry_pb2 import GetPolicyRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub


def state_folder(ctx: click.Context) -> Path:
    """The installation's folder that `--state` names."""
    return Path(ctx.find_root().obj["state"])


def further_command(words: str) -> str:
    """How to type a further command of ours about the same installation."""
    ctx = click.get_current_context()
    given = ctx.find_root().get_parameter_source("state") is ParameterSource.COMMANDLINE
    state = f" --state {shlex.quote(str(state_folder(ctx)))}" if given else ""
    return f"sealgate{state} {words}"


def profile(ctx: click.Context, default: str) -> Profile:
    """The profile that `--as` names, or else that of the role which usually does this."""
    return profile_of(ctx, ctx.find_root().obj["person"] or default)


def profile_of(ctx: click.Context, person: str) -> Profile:
    """The profile of a person: a folder of STATE/people, or a profile.toml."""
    path = Path(person)
    if path.suffix != ".toml":
        path = state_folder(ctx) / "people" / person / "profile.toml"
    try:
        return Profile.read(path)
    except ProfileError as error:
        raise click.ClickException(
            f"{error}; name a person with --as or the installation's folder with --state, "
            "or make an installation with `sealgate init`"
        ) from error


@contextmanager
def connected(person: Profile) -> Iterator[grpc.Channel]:
    with connect(person) as channel:
        yield channel


def other_logs(policy: Policy, here: list[str]) -> list[str]:
    """The answer logs of other gateways, which only they can open and which may hold the rest."""
    names = [origin_of(vkey) for vkey in policy.answer_logs]
    return [name for name in names if name not in here]


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

    Its newest policy may have expired. Raises SealgateError(POLICY_ROLLED_BACK) where it is not the
    continuation of the chain that was kept before.
    """
    found = RegistryServiceStub(channel).GetPolicy(GetPolicyRequest()).envelopes
    chain = [Envelope.decode(data) for data in found]
    history = open_policy_history(chain, person.pinned_roots(), person.root_threshold)
    known = [e.payload for e in read_chain(ctx, ())] if _kept(ctx).exists() else []
    if [envelope.payload for envelope in chain[: len(known)]] != known:
        raise SealgateError(
            Reason.POLICY_ROLLED_BACK, "the gateway's chain is not the one kept here"
        )
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
    """Return the path at which a policy is stored; 0 stands for the first."""
    name = f"policy-{version}.json" if version else "policy.json"
    return state_folder(ctx) / "trust" / name


def open_chain(chain: list[Envelope], person: Profile) -> Policy:
    """The newest policy of a chain that the person's pinned root keys vouch for."""
    return open_policy_chain(chain, person.pinned_roots(), person.root_threshold, datetime.now(UTC))


def governance_of(
    person: Profile, channel: grpc.Channel, *, security_key: bool = False
) -> Governance:
    """Asks for the passphrase or PIN of the person's key where it is used first and has one."""
    return Governance(
        channel, person, lambda: datetime.now(UTC), ask_secret, security_key=security_key
    )
