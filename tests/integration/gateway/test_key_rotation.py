"""The keys of logs and of freshness are replaced while callers ask; nothing is lost or broken."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.questions import Load
from sealgate.reasons import Reason
from sealgate.trust.keys import load_private_key
from sealgate.trust.transparency.note import vkey
from tests.support.harness.gateway import GatewayHarness, question, rows
from tests.support.harness.key_changes import is_signed, rotate, run
from tests.support.harness.policy_changes import accept, document, root, send, signed
from tests.support.harness.rollouts import await_true

pytestmark = pytest.mark.slow

FILES = {"registry": "registry-log", "answers": "answers"}


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayHarness]:
    monkeypatch.chdir(tmp_path)
    harness = GatewayHarness(tmp_path / "state", "digits-standard")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write("\n[limits]\nanchor_every = 1.0\n")
    harness.start()
    harness.promote("digits", 1)
    yield harness
    harness.stop()


def ask(harness: GatewayHarness) -> bytes:
    answer = harness.inference().ModelInfer(question("digits", rows(), receipt=True), timeout=60)
    return answer.parameters["receipt"].string_param.encode()


def signs(harness: GatewayHarness, log: str, *, following: bool) -> bool:
    """Whether the newest checkpoint of a log is signed by its next key, or by the one before."""
    suffix = ".next.key" if following else ".key"
    key = load_private_key(harness.state / "keys" / f"{FILES[log]}{suffix}")
    return is_signed(harness, log, key.public)


@pytest.mark.parametrize("log", ["answers", "registry"])
def test_a_logs_key_is_replaced_under_load(
    harness: GatewayHarness, tmp_path: Path, log: str
) -> None:
    (tmp_path / "old.json").write_bytes(ask(harness))
    with Load(harness.inference(), "digits", rows(count=20)) as load:
        load.wait_for("1")
        rotate(harness, log)
        await_true(lambda: signs(harness, log, following=True))
        # Until an anchor tells of the hand-over, both sign.
        await_true(lambda: not signs(harness, log, following=False))
        answered = sum(load.versions.values())
        await_true(lambda: sum(load.versions.values()) > answered)
    assert load.failures == {}
    (tmp_path / "new.json").write_bytes(ask(harness))
    for name in ("old.json", "new.json"):
        run(harness, "receipt", "verify", str(tmp_path / name))
    told = json.loads(run(harness, "audit", "verify", "--wait", "60", "--json"))
    assert {row["found"] for row in told} == {"intact"}
    run(harness, "audit", "export", "pack", "--without-files")
    for script in ("anchors.py", "entries.py"):
        command = [sys.executable, f"check/{script}"]
        checked = subprocess.run(command, cwd="pack", capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    harness.stop()
    # The configured key is still the one before; the database says which signs now.
    harness.start()
    harness.await_version("digits", 1)
    ask(harness)
    assert signs(harness, log, following=True)
    run(harness, "audit", "verify", "--wait", "60")
    assert "the former key vouches for" in run(harness, "key", "rotate", log, "--finish")
    harness.stop()
    harness.start()
    ask(harness)
    assert signs(harness, log, following=False)


def test_the_freshness_key_is_replaced_under_load(harness: GatewayHarness) -> None:
    new = load_private_key(harness.state / "keys" / "freshness.next.key")

    def is_renewed() -> bool:
        envelope = harness.gateway.store.registry.snapshot().freshness
        return new.public.keyid in envelope.decode()

    with Load(harness.inference(), "digits", rows(count=20)) as load:
        load.wait_for("1")
        rotate(harness, "freshness")
        await_true(is_renewed)
        answered = sum(load.versions.values())
        await_true(lambda: sum(load.versions.values()) > answered)
    assert load.failures == {}
    harness.stop()
    harness.start()
    ask(harness)
    told = run(harness, "key", "rotate", "freshness", "--finish")
    assert "until a policy leaves it out of" in told


def test_a_registry_key_that_is_not_here_or_not_announced_is_refused(
    harness: GatewayHarness,
) -> None:
    other = load_private_key(harness.state / "keys" / "answers.key")
    following = load_private_key(harness.state / "keys" / "registry-log.next.key")
    for key in (other, following):
        changed = document(harness)
        changed["logs"]["registry"] = vkey("house.localhost/registry", key.public)
        with pytest.raises(Exception, match=Reason.POLICY_INVALID.sentence):
            send(harness, signed(changed, root(harness, 1), root(harness, 2)))


def test_a_former_key_signs_no_more_than_was_handed_over(harness: GatewayHarness) -> None:
    receipt = ask(harness)
    rotate(harness, "answers")
    await_true(lambda: signs(harness, "answers", following=True))
    changed = document(harness)
    (former,) = changed["former_logs"]["house.localhost/answers"]
    former["size"] = 1
    accept(harness, former_logs={"house.localhost/answers": [former]})
    run(harness, "policy", "fetch")
    Path("old.json").write_bytes(receipt)
    told = run(harness, "receipt", "verify", "old.json", code=1)
    assert Reason.SIGNATURE_INVALID.name in told
