"""One of two gateways and one of two engines are killed at once, while callers ask both."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import Profile, connect
from sealgate.setup.configuration import EnginePlace
from tests.support.harness.clients.callers import Callers, unlogged
from tests.support.harness.deployment import GatewayDeployment, until
from tests.support.harness.engine_pair import SECOND, add_engine
from tests.support.harness.gateway import PATIENCE, GatewayHarness
from tests.support.harness.processes.engine_process import EngineProcess
from tests.support.harness.processes.second_gateway import SecondGateway

pytestmark = pytest.mark.slow

Site = tuple[GatewayDeployment, SecondGateway, list[EngineProcess]]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Four processes; the policy names both answer logs, and digits 1 is in production."""
    deployment = GatewayDeployment(GatewayHarness(tmp_path / "state", engine=EnginePlace()))
    harness = deployment.harness
    deployment.configure(f"\n[limits]\ndeadline = {PATIENCE}\n")
    add_engine(harness.state, "deterministic = true")
    second = SecondGateway(harness)
    second.name_in_first_policy()
    engines = [EngineProcess(harness.state), EngineProcess(harness.state, f"{SECOND}.toml")]
    try:
        for engine in engines:
            engine.start()
        deployment.gateway.start()
        harness.publish("digits-standard", "digits")
        deployment.promote(1)
        second.start()
        yield deployment, second, engines
    finally:
        second.kill()
        deployment.close()
        for engine in engines:
            if engine.runs:
                engine.stop()


def asks_both_engines(profile: Profile) -> bool:
    request = oip.ModelMetadataRequest(name="digits")
    with connect(profile) as channel:
        try:
            told = GRPCInferenceServiceStub(channel).ModelMetadata(request, timeout=PATIENCE)
        except grpc.RpcError:
            return False
    return "up to 2 asked" in told.properties["engine"]


def test_no_receipt_is_missing_and_the_others_go_on(site: Site) -> None:
    deployment, second, engines = site
    harness = deployment.harness
    there = Profile.read(second.profile("client"))
    for profile in (harness.profile("client"), there):
        until(lambda profile=profile: asks_both_engines(profile))
    with (
        Callers(harness, 2, PATIENCE) as here,
        Callers(harness, 2, PATIENCE, there) as others,
    ):
        here.await_answers()
        others.await_answers()
        deployment.gateway.kill()
        engines[0].kill()
        others.await_answers(50)
        here.await_failures(grpc.StatusCode.UNAVAILABLE)
        deployment.gateway.start()
        here.await_answers()
        others.await_answers()
    assert others.failures == {}
    assert set(here.failures) <= {grpc.StatusCode.UNAVAILABLE, Reason.ENGINE_UNAVAILABLE}
    auditor = Profile.read(second.profile("auditor"))
    words = ("audit", "verify", "--wait", "60", "--gateway", auditor.endpoint)
    verified = harness.command(*words, person="auditor")
    assert verified.exit_code == 0, verified.output
    assert unlogged(harness.profile("auditor"), here) == 0
    assert unlogged(auditor, others) == 0
