"""Erasures where the policy names several answer logs: complete once each has confirmed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.stage import free_ports
from gateway.app import build
from gateway.config.document import GatewayConfig
from sealgate.trust.keys import PrivateKey, write_private_file
from sealgate.trust.transparency.note import vkey
from tests.support.harness.gateway import GatewayHarness, patient
from tests.support.harness.policy_changes import change

SECOND = "house.localhost/answers-2"


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[GatewayHarness]:
    harness = GatewayHarness(tmp_path / "state")
    harness.start()
    yield harness
    harness.stop()


def with_second(harness: GatewayHarness) -> Path:
    """Have the policy name another gateway's answer log; return that gateway's configuration."""
    key, state = PrivateKey.generate(), harness.state
    write_private_file(state / "keys" / "answers-2.key", key.to_pem())
    change(harness, lambda document: document["logs"]["answers"].append(vkey(SECOND, key.public)))
    text = (state / "gateway.toml").read_text()
    for name in ("answers", "subjects", "seen"):
        text = text.replace(f'"{name}.', f'"{name}-2.')
    text = text.replace('/answers"', '/answers-2"').replace(
        "keys/answers.key", "keys/answers-2.key"
    )
    text = text.replace('uploads = "uploads"', 'uploads = "uploads-2"')
    port, first = free_ports(), harness.profile("client").endpoint.rpartition(":")[2]
    for at in range(2):
        text = text.replace(f":{int(first) + at}", f":{port + at}")
    (state / "gateway-2.toml").write_text(text)
    return state / "gateway-2.toml"


def erase(harness: GatewayHarness, *words: str, code: int) -> dict[str, str]:
    told = harness.command("subject", "erase", "patient-1", "--yes", "--json", *words)
    assert told.exit_code == code, told.output
    return {row["log"]: row["state"] for row in json.loads(told.stdout)}


def test_an_erasure_is_complete_once_each_gateway_has_confirmed(harness: GatewayHarness) -> None:
    configuration = with_second(harness)
    found = erase(harness, code=3)
    assert found["house.localhost/answers"] == "confirmed"
    assert found[SECOND].startswith("left")
    shown = harness.command("subject", "erased", "patient-1", "--json")
    assert shown.exit_code == 3
    assert [row["log"] for row in json.loads(shown.stdout)] == ["house.localhost/answers", SECOND]
    settings = GatewayConfig.read(configuration)
    second = build(patient(settings))
    second.start()
    try:
        found = erase(harness, "--gateway", settings.listen.mutual, code=0)
    finally:
        second.stop()
    assert set(found.values()) == {"confirmed"}
    shown = harness.command("subject", "erased", "patient-1", "--json")
    assert shown.exit_code == 0
    pruned = harness.command("log", "prune", "--dry-run", "--json")
    assert pruned.exit_code == 0
    assert json.loads(pruned.stdout)["left"] == "nothing in other answer logs of the policy"
