"""An answer that left the gateway unrecorded, and the auditor who finds that it did."""

import json
import time
from collections.abc import Iterator

import grpc
import pytest

from tests.support.harness.gateway import GatewayHarness, question, rows, running
from tests.support.harness.processes.engine_process import EngineProcess, separate

pytestmark = pytest.mark.slow

SLACK = 1


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[GatewayHarness, EngineProcess]]:
    with separate(tmp_path_factory.mktemp("pair") / "state") as (harness, engine):
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        yield harness, engine


def ask(harness: GatewayHarness, number: int) -> None:
    for _ in range(number):
        harness.inference().ModelInfer(question("digits", rows()), timeout=60)


def audited(harness: GatewayHarness, counted: int) -> dict[str, object]:
    """Return the auditor's finding once a statement of so many requests is old enough."""
    harness.gateway.registry_sync.count()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        told = harness.command("audit", "completeness", "--slack", str(SLACK), "--json")
        versions = json.loads(told.stdout)["versions"]
        if versions and versions[0]["counted"] == counted:
            assert told.exit_code == (1 if versions[0]["missing"] else 0), told.output
            return versions[0]
        time.sleep(0.2)
    raise TimeoutError(told.output)


def test_a_withheld_entry_is_found_and_stays_found(
    pair: tuple[GatewayHarness, EngineProcess],
) -> None:
    harness, engine = pair
    ask(harness, 3)
    assert audited(harness, 3)["missing"] == 0
    # Somebody who has the gateway asks the engine, and records nothing.
    harness.gateway.engine.infer(harness.gateway.engine.resolve("digits"), rows())
    found = audited(harness, 4)
    assert (found["missing"], found["recorded"]) == (1, 3)
    # A restarted engine counts from zero. Its earlier signed counts stay, and later entries do
    # not make up for the missing ones.
    engine.stop()
    engine.start()
    end = time.monotonic() + 60
    while not answers(harness) and time.monotonic() < end:
        time.sleep(0.05)
    ask(harness, 5)
    assert audited(harness, 4)["missing"] == 1


def answers(harness: GatewayHarness) -> bool:
    try:
        ask(harness, 1)
    except grpc.RpcError:
        return False
    return True


def test_an_engine_in_the_gateway_cannot_be_held_to_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(tmp_path_factory.mktemp("alone") / "state") as harness:
        told = harness.command("audit", "completeness")
        document = harness.command("audit", "completeness", "--json")
    assert (told.exit_code, document.exit_code) == (0, 0)
    assert "unknown: no engine has signed counts" in told.output
    assert "no engine has signed counts" in json.loads(document.output)["unknown"]
