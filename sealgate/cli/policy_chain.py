"""The chain of signed policies that a command reads, checked against a person's root keys."""

from datetime import UTC, datetime
from pathlib import Path

import click

from sealgate.cli.people import state_folder
from sealgate.remote import Profile
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, open_policy_chain

policy_option = click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The chain of signed policies, first to newest; default: STATE/trust/policy.json.",
)


def read_chain(ctx: click.Context, policies: tuple[Path, ...]) -> list[Envelope]:
    """The envelopes that `--policy` names, or the installation's own."""
    paths = policies or (state_folder(ctx) / "trust" / "policy.json",)
    return [Envelope.decode(path.read_bytes()) for path in paths]


def open_chain(chain: list[Envelope], person: Profile) -> Policy:
    """The newest policy of a chain that the person's pinned root keys vouch for."""
    return open_policy_chain(chain, person.pinned_roots(), person.root_threshold, datetime.now(UTC))
