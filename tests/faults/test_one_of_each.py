"""One fault of each kind, in short, one after another.

In CI each is met by itself: in tests of a separate engine, lost networks, a database that fails,
full disks, expired certificates and clocks that jump.

One installation has them all, and callers ask through all of them: a gateway with its registry in
PostgreSQL, and an engine of its own process, in a network of its own where root may make one.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta

import grpc
import pytest

from sealgate.reasons import Reason
from sealgate.setup.configuration import EnginePlace
from tests.support.harness.clients.callers import Callers, missing, newcomer
from tests.support.harness.deployment import GatewayDeployment, until
from tests.support.harness.deployment_faults import (
    Quota,
    clock_of,
    registry_says,
    show_certificate,
)
from tests.support.harness.gateway import PATIENCE, GatewayHarness
from tests.support.harness.network.other_network import OtherNetwork, other_network
from tests.support.harness.processes.engine_process import EngineProcess
from tests.support.harness.servers.postgres import PostgresServer

pytestmark = pytest.mark.slow

CALLERS = 4


@dataclass(frozen=True, slots=True)
class Site:
    deployment: GatewayDeployment
    engine: EngineProcess
    database: PostgresServer
    network: OtherNetwork | None
    set_clock: Callable[[str], None] | None
    callers: Callers


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Running, with digits 1 in production."""
    state = tmp_path_factory.mktemp("site") / "state"
    with ExitStack() as stack:
        network = None
        with suppress(pytest.skip.Exception):
            network = stack.enter_context(other_network())
        place = EnginePlace(f"{network.host}:9000") if network else EnginePlace()
        deployment = GatewayDeployment(GatewayHarness(state, engine=place))
        engine = EngineProcess(state, before=network.words if network else ())
        stack.callback(deployment.close)
        database = PostgresServer()
        stack.callback(database.close)
        deployment.change('"sqlite:///registry.db"', f'"{database.schema_url("registry")}"')
        deployment.configure(f"\n[limits]\ndeadline = {PATIENCE}\n")
        set_clock = None
        with suppress(pytest.skip.Exception):
            set_clock = clock_of(deployment)
        engine.start()
        stack.callback(lambda: engine.runs and engine.stop())
        deployment.gateway.start()
        deployment.harness.publish("digits-standard", "digits")
        deployment.promote(1)
        callers = stack.enter_context(Callers(deployment.harness, CALLERS, PATIENCE))
        yield Site(deployment, engine, database, network, set_clock, callers)


def test_an_engine_is_killed(site: Site) -> None:
    site.callers.await_answers()
    site.engine.kill()
    site.callers.await_failures(Reason.ENGINE_UNAVAILABLE)
    site.engine.start()
    site.callers.await_answers()


def test_the_network_to_the_engine_is_cut(site: Site) -> None:
    """Packets are lost and no end is told: pings notice it, long before a call's deadline."""
    if site.network is None:
        pytest.skip("no network namespaces")
    site.network.cut()
    site.callers.await_failures(Reason.ENGINE_UNAVAILABLE)
    site.network.join()
    site.callers.await_answers()


def test_the_database_of_the_registry_stops(site: Site) -> None:
    """Answers go on."""
    before = sum(site.callers.failures.values())
    site.database.stop(signal.SIGQUIT)
    assert registry_says(site.deployment, PATIENCE) is Reason.REGISTRY_UNAVAILABLE
    site.callers.await_answers()
    site.database.start()
    until(lambda: registry_says(site.deployment) is None)
    assert sum(site.callers.failures.values()) == before


def test_the_disk_of_the_answers_is_full(site: Site) -> None:
    quota = Quota(site.deployment)
    quota.fill()
    site.callers.await_failures(Reason.RECORD_FAILED)
    quota.clear()
    site.callers.await_answers()


def test_the_certificate_expires(site: Site) -> None:
    """Clients that are connected already are still answered."""
    site.callers.await_everybody()
    show_certificate(site.deployment, timedelta(seconds=3))
    harness = site.deployment.harness
    until(lambda: newcomer(harness) is grpc.StatusCode.UNAVAILABLE)
    site.callers.await_answers()
    show_certificate(site.deployment, timedelta(days=1))
    until(lambda: newcomer(harness) == "1")


def test_the_clock_jumps(site: Site) -> None:
    if site.set_clock is None:
        pytest.skip("libfaketime is not installed")
    site.set_clock("+2h")
    site.callers.await_answers()
    assert newcomer(site.deployment.harness, PATIENCE) == "1"
    site.set_clock("+0")
    site.deployment.harness.governance("admin").revoke("digits", 1, "test")
    until(lambda: newcomer(site.deployment.harness) is Reason.VERSION_REVOKED)


def test_no_answer_is_missing_and_none_failed_otherwise(site: Site) -> None:
    site.callers.stop()
    assert missing(site.deployment.harness, site.callers) == 0
    expected = {Reason.ENGINE_UNAVAILABLE, Reason.RECORD_FAILED, Reason.VERSION_REVOKED}
    # To a call under way, a jump of the clock leaves no time.
    assert site.callers.failures.pop(Reason.DEADLINE_TOO_SHORT, 0) <= 2 * CALLERS
    assert set(site.callers.failures) <= expected
