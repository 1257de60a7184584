from collections.abc import Iterator

import pytest

from tests.support.harness.console import ConsoleHarness
from tests.support.harness.gateway import GatewayHarness, question, rows, running


@pytest.fixture(scope="session")
def gateway(tmp_path_factory) -> Iterator[GatewayHarness]:
    """Two versions of digits: the first in production and asked, the second proposed and approved
    once.
    """
    state = tmp_path_factory.mktemp("console") / "state"
    with running(state, "digits-standard", "digits-hardened") as harness:
        harness.promote("digits", 1)
        proposal = harness.propose("digits", 2)
        harness.governance("approver-1").approve(proposal.digest, "reads better")
        for number in range(3):
            request = question("digits", rows())
            request.id = f"request-{number}"
            harness.inference().ModelInfer(request)
        yield harness


@pytest.fixture(scope="session")
def console(gateway) -> ConsoleHarness:
    return ConsoleHarness(gateway)


@pytest.fixture(scope="session")
def proposal(gateway) -> str:
    """The digest of the proposal that waits for a second approval."""
    from sealgate.v1.registry_pb2 import ListProposalsRequest

    found = gateway.registry("auditor").ListProposals(ListProposalsRequest(model="digits"))
    return str(found.proposals[-1].digest)
