"""A gateway whose logs are witnessed: what it serves, what auditors check, and when it stops."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from gateway.app import build
from gateway.config.document import GatewayConfig
from gateway.config.optional_sections import WitnessSettings
from gateway.cosigning.cosignatures import CosignatureStore
from gateway.cosigning.updates import submit
from sealgate.private_keys import open_signer
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.trust.transparency import open_checkpoint
from sealgate.trust.transparency.checkpoint import cosignatures
from sealgate.v1.log_pb2 import GetCheckpointRequest, GetEntryRequest, StreamEntriesRequest
from tests.support.builders.documents.people import key, refused
from tests.support.fakes.growing_log import GrowingLog
from tests.support.harness.gateway import GatewayHarness, refusal
from tests.support.harness.servers.witness_server import serving_witness

pytestmark = pytest.mark.slow


@pytest.fixture
def witnessed(tmp_path: Path) -> Iterator[tuple[GatewayHarness, WitnessSettings]]:
    """A gateway with a witness that knows its logs."""
    harness = GatewayHarness(tmp_path / "state")
    logs = dict(log_keys(harness))
    with serving_witness(tmp_path / "witness.db", logs) as settings:
        configure(harness, settings)
        harness.start()
        try:
            yield harness, settings
        finally:
            harness.stop()


def configure(harness: GatewayHarness, settings: WitnessSettings) -> None:
    with (harness.state / "gateway.toml").open("a") as file:
        file.write(f'\n[[witnesses]]\nurl = "{settings.url}"\nkey = "{settings.key}"\n')


def log_keys(harness: GatewayHarness) -> list[tuple[str, str]]:
    """The verifier key of each log, by origin."""
    gateway = build(GatewayConfig.read(harness.state / "gateway.toml"))
    gateway.start()
    policy = gateway.engine.policy_in_force()
    gateway.stop()
    lines = (policy.registry_log, *policy.answer_logs)
    return [(line.partition("+")[0], line) for line in lines]


def feed(harness: GatewayHarness, settings: WitnessSettings) -> None:
    """Feed the witnesses once, as their thread does periodically."""
    assert harness.gateway is not None
    harness.gateway.witnesses.feed(settings)


def test_checkpoints_carry_cosignatures(witnessed: tuple[GatewayHarness, WitnessSettings]) -> None:
    harness, settings = witnessed
    feed(harness, settings)
    for origin, vkey in log_keys_of(harness):
        found = harness.logs().GetCheckpoint(GetCheckpointRequest(origin=origin))
        checkpoint = open_checkpoint(found.witnessed_note, vkey)
        assert len(cosignatures(found.witnessed_note, [settings.witness])) == 1
        newest = open_checkpoint(found.note, vkey)
        same = newest.size == checkpoint.size
        assert len(cosignatures(found.note, [settings.witness])) == (1 if same else 0)


def log_keys_of(harness: GatewayHarness) -> list[tuple[str, str]]:
    assert harness.gateway is not None
    policy = harness.gateway.engine.policy_in_force()
    lines = (policy.registry_log, *policy.answer_logs)
    return [(line.partition("+")[0], line) for line in lines]


def test_auditors_ask_for_witnesses(witnessed: tuple[GatewayHarness, WitnessSettings]) -> None:
    harness, settings = witnessed
    feed(harness, settings)
    told = harness.command("audit", "verify", "--wait", "60", "--witness", settings.key, "--json")
    assert told.exit_code == 0, told.output
    assert [log["witnesses"] for log in json.loads(told.stdout)] == [["witness.example"]] * 2
    other = settings.witness.of("other.example", key("other").public).vkey
    told = harness.command("audit", "verify", "--witness", other)
    assert told.exit_code != 0
    assert Reason.WITNESSES_TOO_FEW.name in told.output
    told = harness.command("audit", "verify", "--witness", other, "--witness", settings.key)
    assert Reason.WITNESSES_TOO_FEW.name in told.output
    both = ("--witness", other, "--witness", settings.key, "--witnesses", "1")
    assert harness.command("audit", "verify", "--wait", "60", *both).exit_code == 0


def test_a_fork_stops_the_answers_for_good(tmp_path: Path) -> None:
    """Somebody else signs with our key, and was faster at the witness."""
    harness = GatewayHarness(tmp_path / "state")
    logs, answers = (
        dict(log_keys(harness)),
        GatewayConfig.read(harness.state / "gateway.toml").answers,
    )
    harness.start()
    # A refusal is recorded too, so there is something to read.
    assert refusal(harness.logs().GetEntry, GetEntryRequest(origin=answers.origin, index=9)) is (
        Reason.ENTRY_UNKNOWN
    )
    assert read(harness, answers.origin) is None
    harness.stop()
    fork = GrowingLog(
        *map(str, range(9)), origin=answers.origin, signer=open_signer(answers.log_key)
    )
    with serving_witness(tmp_path / "witness.db", logs) as settings:
        submit(fork, settings, CosignatureStore(tmp_path / "elsewhere.json", [settings.witness]))
        configure(harness, settings)
        harness.start()
        feed(harness, settings)
        assert read(harness, answers.origin) is Reason.LOG_INCONSISTENT
        asked = GetCheckpointRequest(origin=answers.origin)
        assert "witness.example" in harness.logs().GetCheckpoint(asked).conflict
        harness.stop()
    # A restart does not heal it, with or without the witness; somebody has to look.
    harness.start()
    assert read(harness, answers.origin) is Reason.LOG_INCONSISTENT
    harness.stop()


def read(harness: GatewayHarness, origin: str) -> Reason | None:
    """Look into a log, which is recorded first; the reason where that is refused."""
    request = StreamEntriesRequest(origin=origin, start=0, end=1)
    try:
        list(harness.logs().StreamEntries(request))
    except grpc.RpcError as error:
        return reason_of(error)
    return None


def test_a_halted_registry_changes_nothing(
    witnessed: tuple[GatewayHarness, WitnessSettings],
) -> None:
    harness, _ = witnessed
    assert harness.gateway is not None
    registry = harness.gateway.store.registry
    registry.halt("a witness has seen more")
    for step in (registry.snapshot, lambda: registry.models.create("publisher", "new")):
        with refused(Reason.LOG_INCONSISTENT):
            step()


def test_the_threads_end_at_once(witnessed: tuple[GatewayHarness, WitnessSettings]) -> None:
    harness, _ = witnessed
    before = threading.active_count()
    harness.stop()
    assert threading.active_count() <= before
