"""What people sign on the command line: at this machine's time, with secrets that are asked for."""

from datetime import UTC, datetime

import grpc

from sealgate.cli.output import ask_secret
from sealgate.governance import Governance
from sealgate.remote import Profile


def governance_of(person: Profile, channel: grpc.Channel) -> Governance:
    """Asks for the passphrase or PIN of the person's key where it is used first and has one."""
    return Governance(channel, person, lambda: datetime.now(UTC), ask_secret)
