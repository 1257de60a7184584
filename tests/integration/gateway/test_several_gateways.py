"""Two gateways share one registry, each with its own answer log, on either database."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

import sealgate
from gateway.app import build
from gateway.config.document import GatewayConfig
from sealgate.client.client import Client, options_of
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.promotion.documents import Governance
from sealgate.reasons import Reason
from sealgate.remote import Profile
from sealgate.settings import ConfigError
from sealgate.v1 import outcome_pb2
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.outcome_pb2_grpc import OutcomeServiceStub
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from tests.support.harness.gateway import GatewayHarness, refusal, rows, started_on
from tests.support.harness.outcomes import (
    TAKEN,
    Answered,
    answer,
    answer_by,
    outcomes,
    report_of,
    shown,
    told_to,
)
from tests.support.harness.policy_changes import change
from tests.support.harness.processes.second_gateway import ORIGIN, SecondGateway

pytestmark = pytest.mark.slow


@pytest.fixture
def harness(database_url: str, tmp_path: Path) -> Iterator[GatewayHarness]:
    """A gateway whose registry is on the database; digits 1 is in production, 2 is registered."""
    harness = started_on(database_url, tmp_path / "state", "digits-standard", "digits-hardened")
    try:
        harness.promote("digits", 1)
        yield harness
    finally:
        harness.stop()


@pytest.fixture
def second(harness: GatewayHarness) -> Iterator[SecondGateway]:
    """The second gateway, whose answer log the policy names; it is not started yet."""
    second = SecondGateway(harness)
    change(harness, lambda document: document["logs"]["answers"].append(second.line))
    yield second
    second.kill()


def client(profile: Profile) -> Client:
    return sealgate.connect(f"https://{profile.endpoint}", **options_of(profile))


def await_answer(asked: Client, version: int) -> float:
    """Waits until production is that version there, with receipts that hold; the seconds taken."""
    began = time.monotonic()
    while asked.infer("digits", {"x": rows()}).version != version:
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    return time.monotonic() - began


def create(registry: RegistryServiceStub, names: list[str]) -> None:
    for name in names:
        registry.CreateModel(messages.CreateModelRequest(model=name), timeout=60)


def test_both_answer_change_and_follow(harness: GatewayHarness, second: SecondGateway) -> None:
    second.start()
    with ExitStack() as stack:
        here = stack.enter_context(client(harness.profile("client")))
        there = stack.enter_context(client(Profile.read(second.profile("client"))))
        await_answer(here, 1)
        await_answer(there, 1)
        # Moved by one, followed by the other, both ways; one of three times at once, for on a
        # loaded machine whoever asks may come late.
        channel = stack.enter_context(second.channel("admin"))
        admin = Governance(channel, harness.profile("admin"), lambda: datetime.now(UTC))
        took: dict[str, list[float]] = {"here": [], "there": []}
        for _ in range(3):
            harness.promote("digits", 2)
            took["there"].append(await_answer(there, 2))
            admin.rollback("digits", "production", 1, "complaints")
            took["here"].append(await_answer(here, 1))
        assert min(took["there"]) < 5
        assert min(took["here"]) < 5
        # Changes by both at once.
        channel = stack.enter_context(second.channel("publisher"))
        stubs = (harness.registry("publisher"), RegistryServiceStub(channel))
        names = [[f"model-{n}-{at}" for at in range(20)] for n in range(4)]
        threads = [threading.Thread(target=create, args=(stubs[n % 2], names[n])) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outcomes_of_own_answers(harness, stack.enter_context(second.channel("client")))
    registry = harness.gateway.store.registry
    assert all(registry.models.get(name) for group in names for name in group)
    registry.verify()
    # Each shows its own answer log alone; the auditor asks both.
    there = Profile.read(second.profile("auditor")).endpoint
    result = harness.command("audit", "verify", "--wait", "60", "--gateway", there)
    assert result.exit_code == 0, result.output
    assert ORIGIN in result.output
    for elsewhere, status in (((), 3), (("--elsewhere", ORIGIN), 0)):
        alone = harness.command("audit", "verify", *elsewhere)
        assert alone.exit_code == status, alone.output
        assert (Reason.LOG_UNSEEN.name in alone.output) == bool(status)


def outcomes_of_own_answers(harness: GatewayHarness, second: grpc.Channel) -> None:
    """Each takes the outcomes of what it answered itself, and of nothing else."""
    change(harness, lambda document: document.update(outcomes=TAKEN))
    stubs = (outcomes(harness), OutcomeServiceStub(second))
    answers = [answer(harness), answer_by(GRPCInferenceServiceStub(second))]
    assert [each.origin for each in answers][1] == ORIGIN
    for stub, own, other in zip(stubs, answers, answers[::-1], strict=True):
        [result] = until_taken(stub, own)
        assert result.entry > own.index
        request = outcome_pb2.ReportOutcomesRequest(origin=other.origin, reports=[report_of(other)])
        assert refusal(stub.ReportOutcomes, request) is Reason.LOG_UNKNOWN
    assert shown(harness)[0].figures.outcomes == 1


def until_taken(stub: OutcomeServiceStub, own: Answered) -> list[outcome_pb2.OutcomeResult]:
    """The result of a report, once the gateway follows the policy that takes it."""
    began = time.monotonic()
    while (found := told_to(stub, own.origin, report_of(own)))[0].reason:
        assert found[0].reason == Reason.OUTCOME_UNWANTED.name
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    return found


def test_one_killed_at_work_holds_up_nobody(harness: GatewayHarness, second: SecondGateway) -> None:
    second.start()
    failed = threading.Event()

    def work() -> None:
        with second.channel("publisher") as channel:
            try:
                create(RegistryServiceStub(channel), [f"other-{at}" for at in range(10_000)])
            except Exception:
                failed.set()

    thread = threading.Thread(target=work)
    thread.start()
    registry = harness.registry("publisher")
    create(registry, [f"first-{at}" for at in range(20)])
    second.kill()
    create(registry, [f"then-{at}" for at in range(20)])
    assert failed.wait(60)
    thread.join()
    harness.gateway.store.registry.verify()
    # It comes back, goes on with its answer log, and changes the registry again.
    second.start()
    with second.channel("publisher") as channel:
        create(RegistryServiceStub(channel), ["back"])
    with client(Profile.read(second.profile("client"))) as there:
        await_answer(there, 1)
    harness.gateway.store.registry.verify()


def test_two_that_begin_a_registry_at_once(database_url: str, tmp_path: Path) -> None:
    harness = GatewayHarness(tmp_path / "state")
    configuration = harness.state / "gateway.toml"
    text = configuration.read_text()
    configuration.write_text(text.replace('"sqlite:///registry.db"', f'"{database_url}"'))
    second = SecondGateway(harness)
    second.name_in_first_policy()
    starting = threading.Thread(target=second.start)
    starting.start()
    try:
        harness.start()
        starting.join()
        create(harness.registry("publisher"), ["here"])
        with second.channel("publisher") as channel:
            create(RegistryServiceStub(channel), ["there"])
        registry = harness.gateway.store.registry
        assert len(registry.policies.chain().policies) == 1
        registry.verify()
    finally:
        starting.join()
        harness.stop()
        second.kill()


def test_an_answer_log_that_the_policy_does_not_name(tmp_path: Path) -> None:
    harness = GatewayHarness(tmp_path / "state")
    harness.start()
    try:
        second = SecondGateway(harness)
        with pytest.raises(ConfigError) as caught:
            build(GatewayConfig.read(second.config))
        assert second.line in str(caught.value)
        # It has taken nothing from the one that runs.
        create(harness.registry("publisher"), ["digits"])
    finally:
        harness.stop()
